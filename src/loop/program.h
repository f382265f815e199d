// A whole model after lowering: functions, tensors, and the sequence in which they run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop/stmt.h"

namespace burnish {

// param: an argument. thread: memory of the running thread (rings, strips), also used for
// single-threaded parts; on a GPU, of the block. shared: memory seen by all threads of a run, allocated
// outside parallel loops. register: fully unrolled, becomes SSA values; in thread loops each thread has
// the elements that its numbers select. stack: small fixed memory of the running thread. warp: registers whose elements
// the other threads of the warp may read, in statements after the thread loop that wrote them.
enum class Scope : uint8_t { Param, Shared, Thread, Stack, Register, Warp };
std::string_view name_of(Scope s);
inline bool in_registers(Scope s) { return s == Scope::Register || s == Scope::Warp; }

struct Buffer {
  std::string name;
  DType dtype = DType::F32;
  Scope scope = Scope::Param;
  int64_t size = 0;      // elements
  bool written = false;  // Param: an output
  bool constant = false;  // Param: nothing writes it while programs run
  int64_t align = 64;    // bytes that the base is aligned to
  // Param: the elements [k * pitch, k * pitch + run) are its own, what lies between belongs to
  // others; pitch 0: all are.
  int64_t run = 0, pitch = 0;
  // Memory of a GPU's block in rows of 32, 64 or 128 bytes, 0: none: the byte b lies at b ^ (b / 128 % (swizzle / 16) * 16), so that pieces
  // of 16 bytes at the same place of neighbouring rows are in different banks.
  int64_t swizzle = 0;
  int64_t prefetch = 0;  // bytes: with a load in an innermost loop, what stands so far behind it is fetched
};
int64_t own_elements(const Buffer& b);
inline bool is_swizzle(int64_t bytes) { return bytes == 32 || bytes == 64 || bytes == 128; }
inline constexpr int64_t kSwizzleAlign = 1024;  // bytes after which a swizzle repeats

// One kernel. Top-level statements outside a parallel loop are executed by thread 0 alone; between
// two top-level statements of which one depends on the other stands a Barrier.
struct Function {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<BufferId> params;   // buffers of scope Param, in order
  std::vector<std::string> vars;  // names by VarId, for text
  Stmt body;

  BufferId add_buffer(Buffer b);  // of scope Param: also becomes the next of params
  VarId fresh(std::string name);
};

enum class TensorKind : uint8_t { Input, Output, Constant, Arena };

struct ProgramTensor {
  std::string name;
  TensorKind kind = TensorKind::Arena;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;                          // logical; Input, Output
  int64_t size = 0;                                    // elements, physical
  int64_t offset = 0;                                  // bytes: in the arena or in the weights
  int64_t run = 0, pitch = 0;                          // Output: what of it has to be written, as of a Buffer
  std::shared_ptr<const std::vector<std::byte>> data;  // Constant: physical bytes
  uint64_t text_hash =
      0;  // Constant that came from text: the hash that stood there, its bytes being unknown
};

// Bytes of one memory that an argument uses: runs of `run` bytes, one every `pitch`, from `first` to
// `last`; pitch 0: all of them.
struct Footprint {
  int64_t first = 0, last = 0, run = 0, pitch = 0;
};
Footprint footprint(const Buffer& b, int64_t first_byte);
bool meet(const Footprint& a, const Footprint& b);  // may share a byte

struct Step {
  uint32_t function;
  std::vector<uint32_t> args;  // tensors, one a parameter
  std::vector<int64_t>
      offsets;          // bytes added to each argument (slices of concats, splits); empty: zeros
  bool barrier = true;  // all threads meet after it
  // For people: profile and metadata.
  std::vector<std::string> sources;
  int64_t macs = 0, bytes = 0;
  std::string schedule;
};

struct Program {
  std::vector<Function> functions;
  std::vector<ProgramTensor> tensors;
  std::vector<uint32_t> inputs, outputs;  // tensors
  std::vector<Step> steps;
  int64_t arena_bytes = 0;
};

std::string to_text(const Function& f);
std::string
to_text(const Program& p);  // constants as hashes; `parse_program` gives them zero bytes
Function parse_function(std::string_view text);  // UserError with line number
Program parse_program(std::string_view text);

// InternalError naming the function and statement unless: every variable is bound once on its path,
// indices stay inside their buffers (intervals, guards of enclosing Select and If taken as facts),
// types agree, register buffers are indexed by unrolled and vectorized loops only, vector loops are
// innermost with constant bounds, parallel loops are not nested, a parallel loop's iterations write
// disjoint places (the variable's slope against the extent) or private buffers.
// Of a step whose arguments overlap in the arena also: it reads only what it has not written over,
// which is so where may_overwrite holds and both arguments start at the same byte.
void verify(const Function& f);
void verify(const Program& p);

// Whether parameter `output` may have the memory of parameter `input` (both by position): elements
// of the input are read only by the statement that writes the same place of the output, and no
// place is written twice (a function writes its outputs whole).
bool may_overwrite(const Function& f, size_t input, size_t output);

}  // namespace burnish
