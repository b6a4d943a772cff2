#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "diffract/net/network.h"

namespace diffract::distributed {

using Variables = std::map<std::string, std::string>;

/// Who a process is among the processes of its job, as whoever started it has told it.
struct Environment {
  std::string source;  // "torchrun", "Open MPI", "PMI", "PMIx", "MVAPICH", "Slurm", "Kubernetes"; "": alone
  int rank = 0, world_size = 1;
  int local_rank = 0, local_world_size = 1;                  // among the processes of this host
  net::Endpoint master{.host = "127.0.0.1", .port = 29500};  // where the store is
  bool store_is_served = false;                              // by the launcher; else rank 0 serves it
  int restart_count = 0;                                     // how often the launcher has restarted the job

  bool one_node() const { return local_world_size == world_size; }
  /// "rank 1 of 2", for messages.
  std::string who() const;
};

/// Reads the first set that is there, in this order (docs/distributed.md has the table): torchrun's
/// variables (RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are enough), Open MPI's, PMI's, PMIx's,
/// MVAPICH's, Slurm's step, an indexed Kubernetes job's. None: one process. Throws UsageError naming what is
/// missing in a half-set one, and for values that cannot be. A pure function of its argument.
Environment detect_environment(const Variables& variables);

/// The same for a caller that knows its rank and the world size. The rest comes from a whole set of that
/// size, else from MASTER_ADDR and MASTER_PORT. Throws UsageError when those are missing and the world has
/// more than one.
Environment environment_of(const Variables& variables, int rank, int world_size);

/// A variable for "a store is served at this endpoint already", HOST:PORT as MASTER_ADDR and MASTER_PORT say
/// it.
inline constexpr const char* kStoreVariable = "DIFFRACT_STORE";

/// All variables of this process.
Variables current_variables();

}  // namespace diffract::distributed
