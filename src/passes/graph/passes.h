// The passes on graphs, one file each under its name.
#pragma once

#include "graph/graph.h"
#include "passes/context.h"

namespace burnish {

Graph dead_code(const Graph& g, const Context& c);
Graph fold_constants(const Graph& g, const Context& c);
Graph simplify(const Graph& g, const Context& c);
Graph fold_batch_norm(const Graph& g, const Context& c);
Graph common_subexpressions(const Graph& g, const Context& c);
Graph recognize_attention(const Graph& g, const Context& c);
Graph split_products(const Graph& g, const Context& c);
Graph compose_convolutions(const Graph& g, const Context& c);
Graph merge_convolutions(const Graph& g, const Context& c);
Graph choose_layout(const Graph& g, const Context& c);
Graph gate_weights(const Graph& g, const Context& c);
Graph choose_algorithms(const Graph& g, const Context& c);
Graph fuse(const Graph& g, const Context& c);
Graph narrow_storage(const Graph& g, const Context& c);
Graph fuse_addends(const Graph& g, const Context& c);
Graph fuse_chains(const Graph& g, const Context& c);

// What choose_algorithms asks a target about: the formulas of a node without those it is grouped
// with.
StageGroup stages_alone(const Graph& g, const Node& n);

// Every float in fp64: the reference of accuracy. Not part of the pipeline.
Graph to_double(const Graph& g, const Context& c, DType rounded = DType::F64);

// Groups become functions, values become tensors; the arena is not planned yet.
Program to_program(const Graph& g, const Context& c);

}  // namespace burnish
