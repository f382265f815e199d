// A session of a model for a GPU: a stream, an arena, tensors on both sides, and the whole run as a
// graph that is captured once for every set of addresses.
#pragma once

#include "../session.h"
#include "context.h"
#include "program.h"

#include <memory>
#include <vector>

namespace burnish::runtime::cuda {

class Session final : public runtime::Session {
 public:
  Session(std::shared_ptr<const Model> model, int ordinal);
  ~Session() override;

  std::uint32_t threads() const override { return 1; }
  burnish_device_info device() const override { return context_.info(); }

 private:
  // Where the caller has a tensor: in a buffer of the session or in memory of his own, on the host,
  // from where runs copy it (to where they do), or on the GPU.
  enum class Place { OwnHost, Host, OwnDevice, Device };
  struct Tensor {
    std::uint64_t bytes = 0;
    bool input = false;
    Place place = Place::OwnHost;
    void* host = nullptr;  // the caller's
    Address device = 0;    // the caller's
    PinnedBuffer staging;  // what runs copy; the session's buffer on the host
    DeviceBuffer own;

    bool copied() const { return place == Place::OwnHost || place == Place::Host; }
    Address address() const { return place == Place::Device ? device : own.address(); }
  };
  // A run with these addresses; the lowest bit: copied.
  struct Captured {
    std::vector<Address> addresses;
    OwnedGraphExec exec;
    std::uint64_t last_used = 0;
  };
  class Capture;

  void bind_to(const Slot& slot, void* data) override;
  void bind_own(const Slot& slot) override;
  void copy_in(const Slot& slot, const void* data) override;
  void* where(const Slot& slot) override;
  void* where_on_device(const Slot& slot) override;
  void run_once(std::uint64_t* step_ns, std::uint64_t* total_ns) override;
  void begin_run(void* stream) override;
  void wait() override;

  const Driver& driver() const { return context_.driver(); }
  void place(Tensor& tensor, Place place);
  void* staging(Tensor& tensor);
  DeviceBuffer zeros(std::uint64_t bytes, const char* what);
  void give_buffers();
  GraphExec graph();
  OwnedGraphExec captured(bool marked);
  void set_parameters();
  void enqueue_copies(bool inputs);
  void enqueue_launches(bool marked);
  void enqueue_launch(std::size_t index);
  void mark(std::size_t index, unsigned flags);
  void make_marks(std::size_t count);
  void profile_steps(std::uint64_t* step_ns);
  void profile_whole(std::uint64_t* total_ns);
  std::uint64_t nanoseconds(std::size_t from, std::size_t to);

  std::shared_ptr<const Program> program_;
  Context& context_;
  TakenStream stream_;
  OwnedEvent done_;  // the end of the last run on a stream of the caller's
  bool pending_ = false;
  Stream pending_on_ = nullptr;
  DeviceBuffer arena_;
  std::vector<Tensor> tensors_;  // inputs, then outputs
  // Of all launches, one after the other: parameters, and pointers to them as the driver wants it.
  std::vector<Address> parameters_;
  std::vector<void*> parameter_pointers_;
  std::vector<std::size_t> first_parameter_;  // by launch
  std::vector<Captured> captured_;
  std::vector<Address> addresses_;
  GraphExec graph_ = nullptr;  // for what is bound now; null: to be found
  std::uint64_t uses_ = 0;
  std::vector<OwnedEvent> marks_;  // of profiles: the ends of steps, a beginning before them
  OwnedGraphExec marked_;          // the run for what is bound now, with marks; null: to be made
};

}  // namespace burnish::runtime::cuda
