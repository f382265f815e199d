// Tensors between Python and the runtime: what a feed may be, and arrays that own their memory.
#pragma once

#include <burnish/runtime.h>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <mutex>
#include <vector>

namespace burnish::python {

namespace nb = nanobind;

// Any C-contiguous array in main memory.
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

// One feed: the tensor as the runtime takes it, and the array that keeps its memory alive.
struct Feed {
  AnyArray array;
  std::vector<int64_t> shape;
  burnish_dtype dtype = BURNISH_F32;

  burnish_tensor tensor() const;
};

// Takes numpy arrays and all that have __dlpack__; copies only what is strided or misaligned. `name` is for messages.
Feed feed_of(const char* name, nb::handle value);

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

// A numpy array over the buffer, which lives as long as the array.
nb::object array_over(std::unique_ptr<PooledBuffer> buffer, burnish_dtype dtype, uint32_t rank,
                      const int64_t* shape);

// "float32", as numpy names it.
const char* numpy_name(burnish_dtype dtype);

}  // namespace burnish::python
