#include "diffract/distributed/group.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/distributed/backend.h"
#include "diffract/distributed/device_work.h"

namespace diffract::distributed {
namespace {

using std::chrono::milliseconds;
using Work = c10::intrusive_ptr<::c10d::Work>;

// c10d ends an operation at its timeout; should it not, we do this much later.
constexpr milliseconds kGrace(2000);

::c10d::ReduceOp to_c10d(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return ::c10d::ReduceOp::SUM;
    case ReduceOp::product:
      return ::c10d::ReduceOp::PRODUCT;
    case ReduceOp::min:
      return ::c10d::ReduceOp::MIN;
    case ReduceOp::max:
      return ::c10d::ReduceOp::MAX;
  }
  throw InternalError("a reduction without a name");
}

std::string first_line(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  std::string what = torch ? torch->what_without_backtrace() : error.what();
  what = what.substr(0, what.find('\n'));
  const size_t place = what.find("] ");  // "[/pytorch/third_party/gloo/...:547] Connection closed by peer"
  return what.starts_with("[/") && place != std::string::npos ? what.substr(place + 2) : what;
}

}  // namespace

struct Group::State {
  Store store;
  Members members;
  milliseconds timeout;
  at::Device device;
  c10::intrusive_ptr<::c10d::Backend> backend;
  int64_t calls = 0;  // collectives so far; equal on all ranks that are in step

  int size() const { return static_cast<int>(members.world_ranks.size()); }
  std::string member(int rank) const {
    const auto place = static_cast<size_t>(rank);
    return members.peers[place].text(members.world_ranks[place]);
  }

  void check_rank(const char* name, int rank) const {
    if (rank < 0 || rank >= size())
      throw UsageError("{}: {}: rank {} of a group of {}", store.who(), name, rank, size());
  }
  void check_tensor(const char* name, const at::Tensor& tensor) const {
    if (!tensor.defined() || tensor.device().type() != device.type())
      throw UsageError("{}: {}: the tensor is {}; the group's are on {}", store.who(), name,
                       tensor.defined() ? "on " + tensor.device().str() : "undefined", device.str());
  }

  // Runs one collective. Each rank leaves word in the store of what it begins, without waiting for an answer,
  // so that a timeout can say who is missing.
  template <typename Begin>
  void collective(const char* name, const Begin& begin) {
    ++calls;
    store.set(fmt::format("at/{}", members.rank), fmt::format("{} {}", calls, name));
    try {
      finish(begin(), timeout + kGrace);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail(name, first_line(error));
    }
  }

  // Returns when the work is done, at the latest after `limit`.
  void finish(const Work& work, milliseconds limit) {
    if (!work) return;
    if (!device.is_cpu())
      wait_for_device(*backend, *work, timeout,
                      [this] { return std::any_of(members.peers.begin(), members.peers.end(), has_ended); });
    else if (!work->wait(limit))
      throw std::runtime_error("aborted");
  }

  [[noreturn]] void fail(const char* name, const std::string& reason);
  [[noreturn]] void fail_to_reach(const char* doing, int peer, const std::string& reason, const char* hint) {
    const bool ended = has_ended(members.peers[static_cast<size_t>(peer)]);
    throw PeerError("{}: {} {} failed: {}. {}", store.who(), doing, member(peer), reason,
                    ended ? "It is no longer running; see its own output" : hint);
  }
  std::string who_is_missing(const char* name);
};

// The ranks that have not begun this call, and those that began another one.
std::string Group::State::who_is_missing(const char* name) {
  std::string text;
  for (int rank = 0; rank < size(); ++rank) {
    const std::string key = fmt::format("at/{}", rank);
    const std::string last = store.check({key}) ? store.get(key, milliseconds(1000)) : "";
    const size_t space = last.find(' ');
    const int64_t call = last.empty() ? 0 : std::atoll(last.c_str());
    const std::string what = space == std::string::npos ? "" : last.substr(space + 1);
    if (call < calls)
      text +=
          fmt::format(" {} has not come; it {}.", member(rank),
                      call == 0 ? "has begun no collective" : fmt::format("was last in {} #{}", what, call));
    else if (call == calls && what != name)
      text += fmt::format(" {} called {} instead.", member(rank), what);
    else if (has_ended(members.peers[static_cast<size_t>(rank)]))
      text += fmt::format(" {} is no longer running.", member(rank));
  }
  return text.empty() ? " All ranks had begun it; is one of them hung, lost since, or cut off?" : text;
}

void Group::State::fail(const char* name, const std::string& reason) {
  throw PeerError("{}: {} #{} of {} ranks failed: {}.{} Store at {}", store.who(), name, calls, size(),
                  reason, who_is_missing(name), store.endpoint().text());
}

namespace {

// A rank that is connected may leave at once, with an error of its own; one that still connects to it would
// then say that it cannot. So each waits for the others, but not for long: who is missing is a collective's
// to say.
void await_connected(Store& store, int rank, int size) {
  constexpr std::chrono::seconds kLongest{2};
  constexpr milliseconds kPause{2};
  const auto key = [](int r) { return fmt::format("connected/{}", r); };
  store.set(key(rank), "1");
  const auto end = std::chrono::steady_clock::now() + kLongest;
  for (int r = 0; r < size; ++r)
    while (r != rank && !store.check({key(r)})) {
      if (std::chrono::steady_clock::now() >= end) return;
      std::this_thread::sleep_for(kPause);
    }
}

}  // namespace

Group::Group(Store store, Members members, const BackendArguments& arguments, MakeBackend make) {
  try {
    auto backend = make(arguments);
    await_connected(store, members.rank, static_cast<int>(members.peers.size()));
    state_ = std::make_shared<State>(State{.store = std::move(store),
                                           .members = std::move(members),
                                           .timeout = arguments.patience.value_or(arguments.timeout),
                                           .device = arguments.device,
                                           .backend = std::move(backend)});
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw PeerError("{}: the ranks that met at {} cannot connect to each other from {}: {}", store.who(),
                    store.endpoint().text(), arguments.address, first_line(error));
  }
}

Group::State& Group::state() const {
  if (!state_) throw UsageError("this process is not a member of the group");
  return *state_;
}

int Group::rank() const { return state().members.rank; }
int Group::size() const { return state().size(); }
at::Device Group::device() const { return state().device; }
const std::vector<int>& Group::world_ranks() const { return state().members.world_ranks; }

const std::vector<Peer>& Group::peers() const { return state().members.peers; }

void Group::barrier() const {
  State& group = state();
  const auto device = group.device.is_cpu() ? std::nullopt : std::optional(group.device);
  group.collective("barrier",
                   [&] { return group.backend->barrier({.timeout = group.timeout, .device = device}); });
}

void Group::broadcast(at::Tensor& tensor, int source) const {
  State& group = state();
  group.check_rank("broadcast", source);
  group.check_tensor("broadcast", tensor);
  std::vector<at::Tensor> dense = {tensor.contiguous()};
  group.collective("broadcast", [&] {
    return group.backend->broadcast(dense, {.rootRank = source, .timeout = group.timeout});
  });
  if (!dense[0].is_same(tensor)) tensor.copy_(dense[0]);
}

void Group::all_reduce(at::Tensor& tensor, ReduceOp op) const {
  State& group = state();
  group.check_tensor("all_reduce", tensor);
  std::vector<at::Tensor> dense = {tensor.contiguous()};
  group.collective("all_reduce", [&] {
    return group.backend->allreduce(dense, {.reduceOp = to_c10d(op), .timeout = group.timeout});
  });
  if (!dense[0].is_same(tensor)) tensor.copy_(dense[0]);
}

std::vector<at::Tensor> Group::all_gather(const at::Tensor& tensor) const {
  State& group = state();
  group.check_tensor("all_gather", tensor);
  std::vector<at::Tensor> input = {tensor.contiguous()};
  std::vector<std::vector<at::Tensor>> outputs(1);
  for (int rank = 0; rank < group.size(); ++rank) outputs[0].push_back(at::empty_like(input[0]));
  group.collective("all_gather",
                   [&] { return group.backend->allgather(outputs, input, {.timeout = group.timeout}); });
  return outputs[0];
}

void Group::all_to_all(std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs) const {
  State& group = state();
  const auto size = static_cast<size_t>(group.size());
  if (inputs.size() != size || outputs.size() != size)
    throw UsageError("{}: all_to_all: {} inputs and {} outputs for {} ranks", group.store.who(),
                     inputs.size(), outputs.size(), size);
  std::vector<at::Tensor> flat;
  std::vector<int64_t> sent, received;
  for (size_t rank = 0; rank < size; ++rank) {
    group.check_tensor("all_to_all", inputs[rank]);
    group.check_tensor("all_to_all", outputs[rank]);
    flat.push_back(inputs[rank].reshape(-1));
    sent.push_back(inputs[rank].numel());
    received.push_back(outputs[rank].numel());
  }
  at::Tensor input = at::cat(flat);
  at::Tensor output =
      at::empty({std::accumulate(received.begin(), received.end(), int64_t{0})}, input.options());
  group.collective("all_to_all", [&] {
    std::vector<int64_t> counts = received;  // c10d takes the vector away
    return group.backend->alltoall_base(output, input, counts, sent, {.timeout = group.timeout});
  });
  const auto parts = output.split_with_sizes(received);
  for (size_t rank = 0; rank < size; ++rank) outputs[rank].copy_(parts[rank].view_as(outputs[rank]));
}

struct Group::Sending::Begun {
  std::shared_ptr<State> group;
  int destination;
  std::vector<at::Tensor> tensors;  // kept until they are there
  Work work = {};

  // Begins, or waits for the end.
  template <typename Step>
  void attempt(Step&& step) {
    try {
      step();
    } catch (const std::exception& error) {
      group->fail_to_reach("send to", destination, first_line(error), "Does it call recv?");
    }
  }
};

Group::Sending Group::isend(const at::Tensor& tensor, int destination, int tag) const {
  State& group = state();
  group.check_rank("send", destination);
  group.check_tensor("send", tensor);
  Sending sending;
  sending.begun_ = std::make_shared<Sending::Begun>(
      Sending::Begun{.group = state_, .destination = destination, .tensors = {tensor.contiguous()}});
  Sending::Begun& begun = *sending.begun_;
  begun.attempt([&] { begun.work = group.backend->send(begun.tensors, destination, tag); });
  return sending;
}

void Group::Sending::wait() {
  begun_->attempt([&] { begun_->group->finish(begun_->work, begun_->group->timeout); });
}

int64_t Group::Sending::bytes() const { return static_cast<int64_t>(begun_->tensors.front().nbytes()); }

void Group::send(const at::Tensor& tensor, int destination, int tag) const {
  isend(tensor, destination, tag).wait();
}

void Group::recv(at::Tensor& tensor, int source, int tag) const {
  State& group = state();
  group.check_rank("recv", source);
  group.check_tensor("recv", tensor);
  std::vector<at::Tensor> dense = {tensor.is_contiguous() ? tensor : at::empty_like(tensor).contiguous()};
  try {
    group.finish(group.backend->recv(dense, source, tag), group.timeout);
  } catch (const std::exception& error) {
    group.fail_to_reach("recv from", source, first_line(error), "Does it call send?");
  }
  if (!dense[0].is_same(tensor)) tensor.copy_(dense[0]);
}

}  // namespace diffract::distributed
