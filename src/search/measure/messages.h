// The payloads of the protocol, as values. Each has one encoding (CBOR) and reads back; what does not read is refused
// with a UserError, for a worker's memory may be damaged by what it ran.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expr/dtype.h"
#include "search/measurer.h"
#include "te/stage.h"

namespace burnish::search {

enum class Role : uint8_t { Builder, Runner };

struct Setup {
  Role role = Role::Builder;
  std::string target;
  int threads = 1;
  uint64_t memory_bytes = 0;  // address space on top of what the worker has at its start
  int64_t l2_bytes = 0;
  double min_time = 0;  // seconds of counted runs
  int min_repeats = 1;
  bool cold_weights = true;
  bool device = false;        // kernels run on a device: this process is none of theirs
};

// A parameter of a kernel, which is an input or output of the library that measures it.
struct Parameter {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;  // logical
  Layout layout;               // in memory
  bool constant = false, output = false;
  friend bool operator==(const Parameter&, const Parameter&) = default;
};

// How far an answer may be from the reference (measure/tolerance.h).
struct Tolerance {
  double relative = 0;  // of max(|reference|, root mean square of the reference)
  double outliers = 0;  // share of elements that may be further off: where formulas have steps
};

// A kernel as a library.
struct Built {
  std::string library;
  std::vector<Parameter> parameters;
  Tolerance tolerance;
  // On a device: a run is so many launches, which take turns with so many copies of the constants, one behind the other.
  int launches = 1, copies = 1;
};
// Bytes from one copy of a parameter to the next.
int64_t stride_of(const Parameter& p);

struct BuildRequest {
  std::string hash;      // names the workload
  std::string workload;  // empty: the worker has had it
  std::string trace;
  bool plain = false;    // the reference: `trace` does not count
  bool verify = false;   // prove bounds and threads of its loops, too
  std::string name;      // of the function; empty: the group's
};

struct BuildReply {
  Status status = Status::Ok;
  std::string message;
  bool unknown = false;  // the workload has to be sent again
  Built built;
  double seconds = 0;
};

struct RunRequest {
  std::string hash;   // tensors are kept by it
  Built candidate;
  Built reference;    // no library: never checked
  bool check = false;
  double check_below = 0;
};

struct RunReply {
  Status status = Status::Ok;
  std::string message;
  Timing timing;
  bool checked = false;
  double probe_seconds = 0;
};

struct CompareRequest {
  std::vector<std::string> paths;
  int threads = 1;
  double seconds = 0;
  bool steps = false;
};

struct CompareReply {
  std::string failure;  // empty: it worked
  Comparison comparison;
};

// What a runner is doing, told where it changes outside of timing. Time for the reference is not the candidate's.
enum class Phase : uint8_t { Timing, Reference, ReferenceDone, Checking };
std::string_view name_of(Phase p);  // "timing it", ...

std::string encode(const Setup& m);
std::string encode(const BuildRequest& m);
std::string encode(const BuildReply& m);
std::string encode(const RunRequest& m);
std::string encode(const RunReply& m);
std::string encode(const CompareRequest& m);
std::string encode(const CompareReply& m);
std::string encode(Phase p);

void decode(std::string_view payload, Setup& m);
void decode(std::string_view payload, BuildRequest& m);
void decode(std::string_view payload, BuildReply& m);
void decode(std::string_view payload, RunRequest& m);
void decode(std::string_view payload, RunReply& m);
void decode(std::string_view payload, CompareRequest& m);
void decode(std::string_view payload, CompareReply& m);
void decode(std::string_view payload, Phase& p);

}  // namespace burnish::search
