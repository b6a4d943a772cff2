#include "diffract/distributed/process_group.h"

#include <algorithm>
#include <numeric>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/distributed/backend.h"
#include "diffract/distributed/cores.h"
#include "diffract/distributed/devices.h"

namespace diffract::distributed {
namespace {

using std::chrono::milliseconds;

// Finding each other takes less patience than a collective, in which a rank may have more to compute.
constexpr milliseconds kMeetingTimeout = std::chrono::minutes(5);

struct Engine {
  std::string name;
  Group::MakeBackend make;
};

struct World {
  Store store;  // behind this world's prefix
  Engine engine;
  BackendArguments arguments;  // for groups to come
  Group group;
  Group cpu_group = {};  // beside one of another backend, once it is asked for
  int groups_made = 0;
};

// Never destroyed: at the end of a process its threads and sockets are better left to the kernel.
std::optional<World>& the_world() {
  static auto* const made = new std::optional<World>;
  return *made;
}

World& existing_world() {
  if (!the_world()) throw UsageError("the process group is not there yet: call init_process_group first");
  return *the_world();
}

Engine choose_engine(const std::string& name, at::Device device, int processes_per_gpu) {
  const Engine gloo{"gloo", &make_gloo}, nccl{"nccl", &make_nccl};
  if (name == "gloo") return gloo;
  if (name == "nccl") {
    require_nccl(device, processes_per_gpu);
    return nccl;
  }
  if (name.empty()) return device.is_cuda() && processes_per_gpu == 1 ? nccl : gloo;
  throw UsageError(
      "process group: unknown backend \"{}\"; expected gloo, nccl, or none to choose by the device", name);
}

int group_rank(const Group& group, int world_rank, const char* name) {
  const auto& ranks = group.world_ranks();
  const auto found = std::find(ranks.begin(), ranks.end(), world_rank);
  if (found == ranks.end()) throw UsageError("{}: rank {} is not a member of the group", name, world_rank);
  return static_cast<int>(found - ranks.begin());
}

Group make_group(World& world, const std::string& prefix, const std::vector<int>& ranks, int rank,
                 std::optional<milliseconds> patience = {}) {
  Store store = world.store.with_prefix(prefix);
  BackendArguments arguments = world.arguments;
  arguments.patience = patience;
  arguments.rank = rank;
  arguments.size = static_cast<int>(ranks.size());
  auto peers = check_in(store, {.rank = rank, .size = arguments.size, .backend = world.engine.name},
                        std::min(arguments.timeout, kMeetingTimeout));
  arguments.store = store.with_prefix("backend").c10d();
  return {std::move(store),
          {.rank = rank, .world_ranks = ranks, .peers = std::move(peers)},
          arguments,
          world.engine.make};
}

}  // namespace

void init_process_group(const std::string& backend, milliseconds timeout) {
  init_process_group(detect_environment(current_variables()), backend, timeout);
}

void init_process_group(const std::string& backend, int rank, int world_size, milliseconds timeout) {
  init_process_group(environment_of(current_variables(), rank, world_size), backend, timeout);
}

void init_process_group(const Environment& environment, const std::string& backend, milliseconds timeout) {
  if (the_world()) throw UsageError("the process group is there already: call destroy_process_group first");
  const at::Device device = local_device(environment.local_rank);
  const Engine engine = choose_engine(backend, device, processes_per_gpu(environment.local_world_size));
  static int worlds_made = 0;  // equal on all ranks, which make their worlds in step
  const std::string prefix = fmt::format("world/{}/{}", environment.restart_count, worlds_made++);
  const net::Endpoint at = store_endpoint(environment);
  World made{.store = open_store(environment, std::min(timeout, kMeetingTimeout)).with_prefix(prefix),
             .engine = engine,
             .arguments = {.timeout = timeout,
                           .address = own_address(at),
                           .device = engine.make == &make_nccl ? device : at::Device(at::kCPU)}};
  std::vector<int> ranks(static_cast<size_t>(environment.world_size));
  std::iota(ranks.begin(), ranks.end(), 0);
  made.group = make_group(made, "group", ranks, environment.rank);
  const auto& peers = made.group.peers();
  if (device.is_cpu())
    share_cores(environment.local_rank, environment.local_world_size,
                share_cpus(peers, peers[static_cast<size_t>(environment.rank)]));
  the_world() = std::move(made);
}

bool is_initialized() { return the_world().has_value(); }
void destroy_process_group() {
  existing_world();
  the_world().reset();
}

const Group& world() { return existing_world().group; }

const Group& cpu_world() {
  World& all = existing_world();
  if (all.group.device().is_cpu()) return all.group;
  if (!all.cpu_group) {
    World over_gloo = all;
    over_gloo.engine = {.name = "gloo", .make = &make_gloo};
    over_gloo.arguments.device = at::kCPU;
    all.cpu_group = make_group(over_gloo, "cpu_group", all.group.world_ranks(), all.group.rank());
  }
  return all.cpu_group;
}

Store world_store() { return existing_world().store.with_prefix("user"); }
std::string get_backend() { return existing_world().engine.name; }
int get_rank() { return world().rank(); }
int get_world_size() { return world().size(); }

Group new_group(const std::vector<int>& ranks, std::optional<milliseconds> timeout) {
  World& all = existing_world();
  std::vector<int> sorted = ranks;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty() || sorted.front() < 0 || sorted.back() >= all.group.size() ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    throw UsageError("new_group: the ranks are {}; expected different ones from 0 to {}", list_ranks(ranks),
                     all.group.size() - 1);
  const std::string prefix = fmt::format("group_{}", ++all.groups_made);
  const auto self = std::find(ranks.begin(), ranks.end(), all.group.rank());
  if (self == ranks.end()) return {};
  return make_group(all, prefix, ranks, static_cast<int>(self - ranks.begin()), timeout);
}

void barrier(const Group& group) { group.barrier(); }
void broadcast(at::Tensor& tensor, int src, const Group& group) {
  group.broadcast(tensor, group_rank(group, src, "broadcast"));
}
void all_reduce(at::Tensor& tensor, ReduceOp op, const Group& group) { group.all_reduce(tensor, op); }
std::vector<at::Tensor> all_gather(const at::Tensor& tensor, const Group& group) {
  return group.all_gather(tensor);
}
void all_to_all(std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs, const Group& group) {
  group.all_to_all(outputs, inputs);
}
void send(const at::Tensor& tensor, int dst, int tag, const Group& group) {
  group.send(tensor, group_rank(group, dst, "send"), tag);
}
void recv(at::Tensor& tensor, int src, int tag, const Group& group) {
  group.recv(tensor, group_rank(group, src, "recv"), tag);
}

}  // namespace diffract::distributed
