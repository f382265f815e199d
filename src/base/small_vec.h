// A vector of trivially copyable values that keeps its first N inline. Used where the lowering would otherwise
// spend its time in the allocator (terms of affine forms).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

namespace burnish {

template <class T, uint32_t N>
class SmallVec {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SmallVec() = default;
  SmallVec(std::initializer_list<T> xs) {
    for (const T& x : xs) push_back(x);
  }
  SmallVec(const SmallVec& o) { assign(o); }
  SmallVec(SmallVec&& o) noexcept { steal(o); }
  SmallVec& operator=(const SmallVec& o) {
    if (this != &o) {
      size_ = 0;
      assign(o);
    }
    return *this;
  }
  SmallVec& operator=(SmallVec&& o) noexcept {
    if (this != &o) {
      release();
      steal(o);
    }
    return *this;
  }
  ~SmallVec() { release(); }

  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T& back() { return data()[size_ - 1]; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }
  void pop_back() { --size_; }
  void push_back(const T& x) {
    T copy = x;  // x may live in this vector
    if (size_ == capacity_) grow(capacity_ * 2);
    data()[size_++] = copy;
  }
  void insert_at(size_t at, const T& x) {
    push_back(x);
    T copy = data()[size_ - 1];
    std::memmove(data() + at + 1, data() + at, (size_ - 1 - at) * sizeof(T));
    data()[at] = copy;
  }
  void erase_at(size_t at) {
    std::memmove(data() + at, data() + at + 1, (size_ - 1 - at) * sizeof(T));
    --size_;
  }
  friend bool operator==(const SmallVec& a, const SmallVec& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  T* data() { return heap_ ? heap_ : reinterpret_cast<T*>(inline_); }
  const T* data() const { return heap_ ? heap_ : reinterpret_cast<const T*>(inline_); }
  void assign(const SmallVec& o) {
    if (o.size_ > capacity_) grow(o.size_);
    std::memcpy(static_cast<void*>(data()), o.data(), o.size_ * sizeof(T));
    size_ = o.size_;
  }
  void steal(SmallVec& o) {
    heap_ = o.heap_;
    size_ = o.size_;
    capacity_ = o.capacity_;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
    if (!heap_) std::memcpy(inline_, o.inline_, sizeof inline_);  // used or not: a fixed size is a few moves
#pragma GCC diagnostic pop
    o.heap_ = nullptr;
    o.size_ = 0;
    o.capacity_ = N;
  }
  void grow(uint32_t n) {
    T* p = static_cast<T*>(::operator new(n * sizeof(T)));
    std::memcpy(static_cast<void*>(p), data(), size_ * sizeof(T));
    release();
    heap_ = p;
    capacity_ = n;
  }
  void release() {
    if (heap_) ::operator delete(heap_);
    heap_ = nullptr;
    capacity_ = N;
  }

  T* heap_ = nullptr;
  uint32_t size_ = 0, capacity_ = N;
  alignas(T) unsigned char inline_[N * sizeof(T)];
};

}  // namespace burnish
