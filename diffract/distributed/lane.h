#pragma once
#include <ATen/ATen.h>

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>

#include "diffract/distributed/group.h"
#include "diffract/distributed/turn.h"

namespace diffract::distributed {

/// What one thread sends to other ranks and receives from them, beside other threads that do the same: each
/// picture in flight has a lane, under one tag on all ranks, so that its tensors are its own. While a lane
/// waits, another of the process computes.
class Lane {
 public:
  /// `turn` (null: there is no other thread) is held by the thread; `stop` set: others failed.
  Lane(const Group& group, int tag, Turn* turn, const std::atomic<bool>* stop);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// The innermost lane of this thread; null without any.
  static Lane* current();

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Begins to send a tensor of the CPU, which is not to change any more; returns at once unless many are on
  /// their way. Throws PeerError.
  void send(const at::Tensor& tensor, int destination);
  /// So many bytes from `source`, a tensor of the CPU. Throws PeerError naming the rank when it dies, or does
  /// not send before the group's timeout; Cancelled when another lane has failed.
  at::Tensor receive(int64_t bytes, int source);
  /// Returns when all that was sent has arrived. Throws PeerError.
  void finish();

 private:
  template <typename Wait>
  void while_others_compute(Wait&& wait);
  void finish_oldest();

  const Group& group_;
  int rank_, size_, tag_;
  Turn* turn_;
  const std::atomic<bool>* stop_;
  std::deque<Group::Sending> sending_;
  int64_t bytes_on_their_way_ = 0;
  Lane* before_;  // that of this thread until then
};

/// Calls work(0), ..., work(count - 1) on all ranks, each in a lane of its own, `in_flight` of them at a time
/// and begun in this order; so a rank computes for one while another waits for its turn on other ranks. All
/// ranks make this call with the same numbers. `work` is never run by two threads at once in one process, but
/// goes on in another call while it waits in Lane::receive. The first error ends all of them and is thrown.
void run_in_flight(size_t count, int in_flight, const std::function<void(size_t)>& work);

}  // namespace diffract::distributed
