// What the blocks of a cluster hand one another lies in their memory, each block's piece in its
// own, where a neighbour reads it: meeting then takes half as long as through the second-level
// cache. Copies of constants that only the second loop reads are on their way while the first runs.
#include <algorithm>

#include "target/c_like/printer.h"

namespace burnish::c_like {

// In the block's memory over both loops.
void Printer::keep(BufferId b, int64_t elements) {
  const int64_t align = std::ranges::any_of(f_.buffers, [](const Buffer& x) { return x.swizzle > 0; }) ? kSwizzleAlign : 16;
  const DType t = f_.buffers[b].dtype;
  block_offset_[b] = kept_[b] = kept_bytes_;
  line(fmt::format("{0}* const {1} = ({0}*)(memory + {2});", type_name(t), buffers_[b],
                   kept_bytes_));
  kept_bytes_ += ceil_div(elements * size_of(t), align) * align;
}

void Printer::keep_pieces(const Stmt& before, const Stmt& after) {
  constexpr int64_t most = 96 << 10;  // bytes of a block, of which a multiprocessor holds two
  const int64_t others = std::max(block_memory(f_, before->children[0]).bytes,
                                  block_memory(f_, after->children[0]).bytes);
  for (const Handed& h : handed_on(f_, before, after)) {
    if (kept_bytes_ + others + h.piece * size_of(f_.buffers[h.buffer].dtype) > most) continue;
    pieces_[h.buffer] = {h.piece, 0, before->loop.var};
    keep(h.buffer, h.piece);
  }
}

void Printer::copy_early(const Stmt& before, const Stmt& after) {
  std::vector<Stmt> copies = early_copies(f_, before, after);
  if (copies.empty()) return;
  for (const Stmt& s : copies) {
    visit(s, [&](const Stmt& x) {
      if (x.kind() == StmtKind::Store && !kept_.contains(x->buffer))
        keep(x->buffer, f_.buffers[x->buffer].size);
    });
  }
  const ForStmt& l = after->loop;
  enter(l);
  has_threads_ = true;
  open("{");
  line(fmt::format("const int {} = {};", vars_[l.var], d_.block));
  for (const Stmt& s : copies) statement(s);
  close();
  early_ = std::move(copies);
}

void Printer::clustered(const Stmt& before, const Stmt& after, int cluster) {
  if (!d_.of_neighbour.empty() && has_loop(before, LoopKind::Thread) &&
      has_loop(after, LoopKind::Thread)) {
    keep_pieces(before, after);
    copy_early(before, after);
  }
  block_loop(before, std::string(d_.block));
  if (!early_.empty()) line(fmt::format("{}();", d_.wait));
  line(fmt::format(fmt::runtime(d_.cluster_barrier), cluster));
  for (auto& [b, piece] : pieces_) piece.cluster = cluster;
  block_loop(after, std::string(d_.block));
  // Nobody goes while a neighbour reads.
  if (!pieces_.empty()) line(fmt::format(fmt::runtime(d_.cluster_end), cluster));
}

Lanes Printer::places_of_cluster(BufferId b, const Index& i) {
  const Piece& p = pieces_.at(b);
  if (p.cluster == 0) {
    Index own = i;
    own.a.add(p.block, -p.elements);
    Lanes out = index(own);
    for (std::string& x : out) x = fmt::format("{}[{}]", buffers_[b], x);
    return out;
  }
  Index block, element;
  block.atoms.push_back({i.a, {}, p.elements, p.cluster, 1});
  element.atoms.push_back({i.a, {}, 1, p.elements, 1});
  return each(index(simplified(block, ranges_)), index(simplified(element, ranges_)),
              [&](const std::string& n, const std::string& e) {
                return fmt::format("{}({}, {})[{}]", d_.of_neighbour, buffers_[b], n, e);
              });
}

}  // namespace burnish::c_like
