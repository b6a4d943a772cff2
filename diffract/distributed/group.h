#pragma once
#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "diffract/distributed/rendezvous.h"
#include "diffract/distributed/store.h"

namespace c10d {
class Backend;
}

namespace diffract::distributed {

struct BackendArguments;

enum class ReduceOp { sum, product, min, max };

/// Processes that exchange tensors. A handle: copies are the same group. Ranks are those within the group.
///
/// All members call the same collectives in the same order. Tensors are on the group's device (the CPU for
/// Gloo); a tensor that receives keeps its shape, which is the same on all ranks unless said otherwise. Each
/// call waits at most the group's timeout and then throws PeerError naming the ranks that did not come, and
/// what they were at; a rank that is lost is named at once. After an error the group is of no more use.
class Group {
  struct State;

 public:
  struct Members {
    int rank = 0;
    std::vector<int> world_ranks;  // by group rank
    std::vector<Peer> peers;       // by group rank
  };
  using MakeBackend = c10::intrusive_ptr<::c10d::Backend> (*)(const BackendArguments&);

  Group() = default;  // no group: what a process that is not a member gets
  /// `store` holds this group's keys only.
  Group(Store store, Members members, const BackendArguments& arguments, MakeBackend make);

  explicit operator bool() const { return state_ != nullptr; }
  int rank() const;
  int size() const;
  at::Device device() const;  // of its tensors
  const std::vector<int>& world_ranks() const;
  const std::vector<Peer>& peers() const;  // by group rank

  /// Returns when all members have called it.
  void barrier() const;
  /// `tensor` of `source` on every rank.
  void broadcast(at::Tensor& tensor, int source) const;
  /// The element-wise reduction of all ranks' tensors, on every rank.
  void all_reduce(at::Tensor& tensor, ReduceOp op = ReduceOp::sum) const;
  /// The tensors of all ranks, by rank.
  std::vector<at::Tensor> all_gather(const at::Tensor& tensor) const;
  /// Sends inputs[i] to rank i and receives outputs[i] from it. The shapes may differ as long as both ends
  /// agree; all have one dtype.
  void all_to_all(std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs) const;
  void send(const at::Tensor& tensor, int destination, int tag = 0) const;
  /// Begins to send and returns; the group keeps the tensor, which must not change until wait() returns.
  class Sending {
   public:
    /// Returns when the destination has it. Throws PeerError as send() does.
    void wait();
    int64_t bytes() const;

   private:
    friend class Group;
    struct Begun;
    std::shared_ptr<Begun> begun_;
  };
  Sending isend(const at::Tensor& tensor, int destination, int tag = 0) const;
  void recv(at::Tensor& tensor, int source, int tag = 0) const;

 private:
  std::shared_ptr<State> state_;
  State& state() const;
};

}  // namespace diffract::distributed
