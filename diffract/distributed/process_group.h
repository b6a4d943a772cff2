#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/distributed/environment.h"
#include "diffract/distributed/group.h"

namespace diffract::distributed {

/// torch.distributed's functions over one default group, the world. Ranks are those of the world, also where
/// a smaller group is given. All throw UsageError before init_process_group.
///
/// Makes the world from the environment (environment.h). `backend` is "gloo", "nccl", or "" to choose by the
/// device. On the CPU the processes of a host share its cores from then on (cores.h). All ranks call it; it
/// returns when all have come. Throws UsageError for a half-set environment, an unknown backend, or a world
/// that is there already, and PeerError naming rank, host and port when a rank does not come before the
/// timeout, comes twice or sees another world size.
void init_process_group(const std::string& backend = "", std::chrono::milliseconds timeout = kDefaultTimeout);
/// The same for a rank and size that the caller knows. MASTER_ADDR and MASTER_PORT say where rank 0 is; spawn
/// sets them.
void init_process_group(const std::string& backend, int rank, int world_size,
                        std::chrono::milliseconds timeout = kDefaultTimeout);
void init_process_group(const Environment& environment, const std::string& backend,
                        std::chrono::milliseconds timeout = kDefaultTimeout);
bool is_initialized();
/// Leaves the world; it may be made anew.
void destroy_process_group();

/// "gloo" or "nccl": the world's.
std::string get_backend();
int get_rank();
int get_world_size();
/// The world's group; for code that takes a Group.
const Group& world();
/// The world's ranks as a group for tensors in CPU memory: the world's group where that is Gloo's, else one
/// beside it, for whose making all ranks make this call.
const Group& cpu_world();
/// The world's store, behind a prefix of its own.
Store world_store();
/// A group of some ranks of the world, numbered in the order given. All ranks of the world call it, in the
/// same order; those that are not members get no group. `timeout` is that of its collectives, the world's
/// unless given.
Group new_group(const std::vector<int>& ranks, std::optional<std::chrono::milliseconds> timeout = {});

void barrier(const Group& group = world());
void broadcast(at::Tensor& tensor, int src, const Group& group = world());
void all_reduce(at::Tensor& tensor, ReduceOp op = ReduceOp::sum, const Group& group = world());
std::vector<at::Tensor> all_gather(const at::Tensor& tensor, const Group& group = world());
void all_to_all(std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs,
                const Group& group = world());
void send(const at::Tensor& tensor, int dst, int tag = 0, const Group& group = world());
void recv(at::Tensor& tensor, int src, int tag = 0, const Group& group = world());

}  // namespace diffract::distributed
