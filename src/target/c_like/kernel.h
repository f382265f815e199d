// Loops as kernels in a language like C: one printer, with what differs between CUDA C++, OpenCL C and Metal in a
// Dialect. A function's top-level parallel loops become kernels, their iterations blocks, thread loops the threads of a
// block; memory of scope `thread` is the block's, registers are arrays with constant indices.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "expr/half.h"
#include "loop/program.h"

namespace burnish::c_like {

struct Kernel;

// How a language writes what has no form common to all.
struct Dialect {
  std::string_view prelude;         // helper functions that printed code calls, once a source
  std::string_view kernel_head;     // format: name, most threads a block, nothing, `room`; before the parameters
  // The same with a third argument, blocks of a cluster, and a statement by which all their threads meet, a format of that number.
  // Empty: there are no clusters.
  std::string_view cluster_head = {}, cluster_barrier = {};
  int64_t most_of_a_cluster = 0;  // blocks
  // Where there are no clusters: format of a number to the name of a function of the kernel's counters, whether this block is the last of
  // so many neighbours that comes there; what the others have written it may read then. Empty: there is none.
  std::string_view last_of_group = {};
  // Besides: a statement by which they meet without handing on what they wrote, likewise; a function of a place in the block's memory
  // and a number within the cluster, whose value is that place in that block's. Empty: they hand on through memory.
  std::string_view cluster_end = {}, of_neighbour = {};
  // A format of so many blocks that a multiprocessor should have room for: compilers then take as many registers for a thread as that
  // leaves, to have more loads on their way. And how many they are; 0: as many as fit by what threads need at least.
  std::string_view room = {};
  int64_t (*blocks_together)(const Kernel&) = nullptr;
  std::string_view block, thread;   // expressions: numbers of the running block, as int, and thread, without sign
  std::string_view barrier;         // a statement: threads of the block meet
  std::string_view block_memory;    // a declaration: bytes of the block's memory, named `memory`
  std::string_view global, restrict;  // qualifiers of pointers to parameters
  // Adds to the four sums of a thread (rows i = 0, 1 by columns j = 0, 1) a 16 x 8 by 8 x 8 product: name of a function of
  // them, four values of A (i = 0, 1 of the first depth, then of the second) and two of B. Empty: there is none.
  std::string_view matrix_sum;
  // Or of 16 x 16 by 16 x 8, whose operands are registers with two neighbours in depth each, of this type, f16 or bf16; of 16 x 8 by
  // 8 x 8 with half as many registers.
  std::optional<DType> half_pairs = {};
  // Where it rounds floats: formats of what it does not round again, as u32, of a tf32, and of the maximum of a float and 0. Empty: there
  // are none.
  std::string_view rounded = {}, rounded_relu = {};
  std::string_view tf32 = {};  // a float's nearest tf32, as a float
  std::string_view nearly_tf32 = {};  // the same with bits below that are left, which instructions do not look at
  // Name of a function of (a condition, a float that was computed): its maximum with 0 where the condition holds, 0 elsewhere. Empty: there is none.
  std::string_view relu_where = {};
  // Of tiles of eight rows of 16 bytes in the block's memory: thread 8 * i + r of a warp has the place of row r of the i-th, and gets
  // of each tile 4 of the bytes of row g, from 4 * t on, as thread 4 * g + t. Format of the number of tiles, 2 or 4, to the name of a
  // function of a place, floats or halves, whose value is a vector. Empty: there is none.
  std::string_view load_tiles;
  // The definition of a function of that name: adds to the sums of four warps, those of their 16 x `columns` each, products of operands in
  // the block's memory, rows of a swizzle of so many bytes of which 32 are read (warpgroup.cpp). Null: there is none. And a statement by
  // which these see what threads have written there.
  std::string (*warpgroup_sum)(std::string_view name, int64_t columns, int64_t swizzle) = nullptr;
  std::string_view let_warpgroups_read = {};
  // Starts copying to the block's memory, which the thread waits for: names of functions; the first is a template of the bytes,
  // 4, 8 or 16, of (to, from, whether to copy or to write zeros). What was started since the last call of `group` is a group from
  // then on; as a template of a number, `wait` leaves the last so many groups on their way. Empty: there is none.
  std::string_view copy, wait, group = {};
  // Loads 1, 2 or 4 floats or 1, 2, 4 or 8 halves from memory that no kernel at work writes, or zeros: format of the number, and of
  // "_constant" where it never changes, to the name of a function of (whether to load, the place). Empty: there is none.
  std::string_view load_where;
  // Where compilers move these loads in front of branches around them: name of a function of a condition, which is its value, but they do not
  // see that. Empty: they stay.
  std::string_view unknown = {};
  // Where a kernel may begin before the one before it has ended: a function that waits for that and returns 0. Empty: kernels begin
  // in their turn.
  std::string_view begin;
  // Besides: a statement behind that, by which the kernel after it may begin and wait in its turn (Kernel::after_wait). Kernels of at most
  // `few_blocks` blocks copy constants before they wait.
  std::string_view let_next_begin = {};
  int64_t few_blocks = 0;
  // Name of a function of a value, a distance and a number of threads, all powers of two: what the thread has whose number
  // differs by that bit, among so many neighbours, all of which call it.
  std::string_view exchanged;
  std::string_view of_later_thread;  // f(x, distance): x of the thread so much behind, of the same warp
};

std::string type_name(DType t);
// Types that are loaded, stored and copied in vectors.
inline bool in_vectors(DType t) { return t == DType::F32 || t == DType::TF32 || is_half(t); }

struct Kernel {
  std::string name;
  std::string source;          // its definition, without the prelude
  size_t after_wait = 0;       // the place in it behind the wait for kernels before; 0: it does not wait
  int64_t blocks = 1;
  int cluster = 1;             // so many neighbours among them meet
  int64_t counters = 0;        // u32 that its last parameter points to, 0 at first and again when it ends; 0: it has no such parameter
  int threads = 1;             // a block
  std::set<std::string> helpers;  // definitions of functions that it needs besides the prelude
  bool halves = false;         // it has 16-bit floats: needs helper functions for them
  bool bfloats = false;        // of these bf16
  int64_t registers = 0;       // of a thread, for arrays
  int64_t block_bytes = 0;     // of memory that a block's threads share
  std::vector<BufferId> args;  // of the function, in the order of the kernel's parameters: pointers
};

int64_t threads_inside(const Stmt& s);  // what iterations of thread loops are multiplied to
inline constexpr int64_t kMostOfACluster = 8;  // that every GPU can start
inline constexpr int64_t kLargestCluster = 16;  // that some can, when they are asked to
inline constexpr int64_t kMostBlocksThatMeet = 1 << 14;  // others are not looked at
// Two loops over equally many blocks, one after the other: each group of so many neighbouring blocks, `most` of them, reads in the second
// only what it has itself written in the first. 0: there are no such groups.
int64_t blocks_that_meet(const Function& f, const Stmt& before, const Stmt& after, int64_t most = kLargestCluster);
// The second loop has fewer blocks, at least two: each reads what so many neighbours of the first have written, kMostOfACluster of them, and
// nothing that others have. 0: it is not so.
int64_t blocks_that_gather(const Function& f, const Stmt& before, const Stmt& after);
// What they hand on so that the n-th block writes the `piece` elements from n * piece on, and nobody else.
struct Handed {
  BufferId buffer;
  int64_t piece;
};
std::vector<Handed> handed_on(const Function& f, const Stmt& before, const Stmt& after);
// Does a block's statement nothing but copy constants to its memory?
bool copies_constants(const Function& f, const Stmt& s);
// Copies of what no kernel writes to the block's memory that begin the second loop: they may be made before the first.
std::vector<Stmt> early_copies(const Function& f, const Stmt& before, const Stmt& after);

// Kernels that run one after the other. What a function allocates for all blocks (Scope::Shared) is an argument, too.
// Unsupported names statements that have no form on a GPU.
std::vector<Kernel> kernels_of(const Function& f, const Dialect& d);

}  // namespace burnish::c_like
