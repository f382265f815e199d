// Tensors between Python and the runtime: what a feed may be, and arrays that own their memory.
#pragma once

#include <burnish/runtime.h>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace burnish::python {

namespace nb = nanobind;

// Any C-contiguous array in main memory, or in a GPU's.
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using GpuArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cuda>;

// CUDA's default stream as DLPack numbers it.
constexpr intptr_t kDefaultStream = 1;

// One feed: the tensor as the runtime takes it, and the array that keeps its memory alive.
struct Feed {
  AnyArray array;
  GpuArray gpu_array;
  nb::object owner;  // of memory that is told by __cuda_array_interface__
  void* data = nullptr;
  uint64_t bytes = 0;
  std::vector<int64_t> shape;
  burnish_dtype dtype = BURNISH_F32;
  bool on_gpu = false;

  burnish_tensor tensor() const;
};

// Takes numpy arrays and all that have __dlpack__ or __cuda_array_interface__; copies only what is strided or
// misaligned and in main memory. `name` is for messages ("input x"). Memory of a GPU can be used on `stream` afterwards.
Feed feed_of(const std::string& name, nb::handle value, intptr_t stream = kDefaultStream);

// Memory of one output, recycled when the arrays over it are gone: a run then allocates nothing.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  explicit BufferPool(size_t bytes) : bytes_(bytes) {}
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  void* take();              // aligned to 64 bytes
  void give(void* buffer);   // returns what take() gave
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kKept = 4;
  size_t bytes_;
  std::mutex mutex_;
  std::vector<void*> free_;
};

// A buffer that goes back to its pool.
class PooledBuffer {
 public:
  explicit PooledBuffer(std::shared_ptr<BufferPool> pool) : pool_(std::move(pool)), data_(pool_->take()) {}
  ~PooledBuffer() { pool_->give(data_); }
  PooledBuffer(const PooledBuffer&) = delete;
  PooledBuffer& operator=(const PooledBuffer&) = delete;
  void* data() const { return data_; }

 private:
  std::shared_ptr<BufferPool> pool_;
  void* data_;
};

// An output in a GPU's memory that belongs to a session: valid until the session's next run.
struct DeviceArray {
  void* data;
  std::vector<int64_t> shape;
  burnish_dtype dtype;
  int device;
  intptr_t stream;   // where it is written
  bool pending;      // somebody who reads it elsewhere has to wait for it
  nb::object owner;  // the session
};

nb::dlpack::dtype dlpack_of(burnish_dtype dtype);

// A numpy array over the buffer, which lives as long as the array.
nb::object array_over(std::unique_ptr<PooledBuffer> buffer, burnish_dtype dtype, uint32_t rank,
                      const int64_t* shape);

// "float32", as numpy names it.
const char* numpy_name(burnish_dtype dtype);

}  // namespace burnish::python
