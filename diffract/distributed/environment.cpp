#include "diffract/distributed/environment.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/distributed/host_list.h"

namespace diffract::distributed {
namespace {

constexpr int kMaxProcesses = 1 << 20;

// One family of variables, read by name; what is missing is collected and named together.
class VariableSet {
 public:
  VariableSet(const Variables& all, std::string source) : all_(all), source_(std::move(source)) {}

  bool has(const std::string& name) const { return find(name) != nullptr; }

  std::string text(const std::string& name) {
    const auto* value = find(name);
    if (!value) missing_.push_back(name);
    return value ? *value : "";
  }
  int number(const std::string& name, int low, int high) {
    const auto* value = find(name);
    if (!value) {
      missing_.push_back(name);
      return low;
    }
    return parse(name, *value, low, high);
  }
  int number_or(const std::string& name, int low, int high, int fallback) {
    return has(name) ? number(name, low, high) : fallback;
  }

  // `hint` says how the missing ones are usually set.
  void require_all(const std::string& begun_by, const std::string& hint) const {
    if (missing_.empty()) return;
    throw UsageError("{} environment is half set: {} is there, but {} {} missing. {}", source_, begun_by,
                     fmt::join(missing_, ", "), missing_.size() == 1 ? "is" : "are", hint);
  }
  bool whole() const { return missing_.empty(); }

 private:
  const std::string* find(const std::string& name) const {
    const auto found = all_.find(name);
    return found == all_.end() || found->second.empty() ? nullptr : &found->second;
  }
  int parse(const std::string& name, const std::string& value, int low, int high) const {
    int parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc() || end != value.data() + value.size() || parsed < low || parsed > high)
      throw UsageError("{} environment: {} is \"{}\"; expected a whole number from {} to {}", source_, name,
                       value, low, high);
    return parsed;
  }

  const Variables& all_;
  std::string source_;
  std::vector<std::string> missing_;
};

// The names that one family gives to the same four numbers.
struct Names {
  const char* source;
  const char *rank, *size, *local_rank, *local_size;
  const char* job;  // tells jobs on one machine apart; may be missing
};

// From the first to the last that is looked for.
constexpr Names kMpi[] = {
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_NAMESPACE"},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_JOBID"},
    {"PMIx", "PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_RANK", "PMIX_LOCAL_SIZE", "PMIX_NAMESPACE"},
    {"MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK",
     "MV2_COMM_WORLD_LOCAL_SIZE", "MPIRUN_ID"},
};

// Jobs of one machine get ports of their own when nobody chose one, below the ports that connections leave
// from (32768 and up).
int port_of_job(const std::string& job) {
  uint32_t hash = 2166136261u;  // FNV-1a: the same in every process and build
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 29500 + static_cast<int>(hash % 3000);
}

void read_numbers(VariableSet& set, const Names& names, Environment& found) {
  found.source = names.source;
  found.world_size = set.number(names.size, 1, kMaxProcesses);
  found.rank = set.number(names.rank, 0, kMaxProcesses - 1);
  found.local_world_size = set.number(names.local_size, 1, kMaxProcesses);
  found.local_rank = set.number(names.local_rank, 0, kMaxProcesses - 1);
}

void check_ranges(const Environment& found) {
  if (found.rank >= found.world_size || found.local_rank >= found.local_world_size ||
      found.local_world_size > found.world_size)
    throw UsageError(
        "{} environment: rank {} of {}, local rank {} of {}; expected each rank below its size and no more "
        "processes on this host than in all",
        found.source, found.rank, found.world_size, found.local_rank, found.local_world_size);
}

// Where the store is, for starters that do not say: loopback on one node, else `first_host` or MASTER_ADDR.
void find_master(VariableSet& set, const std::string& first_host, const std::string& job,
                 Environment& found) {
  const bool needed = !found.one_node();
  if (!set.has("MASTER_ADDR") && needed && !first_host.empty())
    found.master.host = first_host;
  else if (set.has("MASTER_ADDR") || needed)
    found.master.host = set.text("MASTER_ADDR");  // or counts as missing
  found.master.port =
      static_cast<uint16_t>(set.number_or("MASTER_PORT", 1, 65535, job.empty() ? 29500 : port_of_job(job)));
}

bool is_served(VariableSet& set, const net::Endpoint& master) {
  return (set.has("TORCHELASTIC_USE_AGENT_STORE") && set.text("TORCHELASTIC_USE_AGENT_STORE") == "True") ||
         (set.has(kStoreVariable) && set.text(kStoreVariable) == master.text());
}

// What torch itself needs: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. A world of one meets nobody.
void find_torch_master(VariableSet& set, Environment& found) {
  if (found.world_size == 1 && !set.has("MASTER_ADDR")) return;
  found.master.host = set.text("MASTER_ADDR");
  found.master.port =
      static_cast<uint16_t>(found.world_size == 1 ? set.number_or("MASTER_PORT", 1, 65535, found.master.port)
                                                  : set.number("MASTER_PORT", 1, 65535));
}

// LOCAL_RANK and LOCAL_WORLD_SIZE, which not every starter sets: with a loopback address all processes are
// on this host, else each counts as the only one of its host.
void find_local_place(VariableSet& set, Environment& found) {
  const bool one_node = found.master.host == "localhost" || net::is_loopback(found.master.host);
  const bool begun = set.has("LOCAL_RANK") || set.has("LOCAL_WORLD_SIZE");
  const auto place = [&](const char* name, int low, int high, int fallback) {
    return begun && !one_node ? set.number(name, low, high) : set.number_or(name, low, high, fallback);
  };
  found.local_rank = place("LOCAL_RANK", 0, kMaxProcesses - 1, one_node ? found.rank : 0);
  found.local_world_size = place("LOCAL_WORLD_SIZE", 1, kMaxProcesses, one_node ? found.world_size : 1);
}

Environment read_torchrun(const Variables& variables, const std::string& begun_by) {
  VariableSet set(variables, "torchrun");
  Environment found;
  found.source = "torchrun";
  found.world_size = set.number("WORLD_SIZE", 1, kMaxProcesses);
  found.rank = found.world_size == 1 ? set.number_or("RANK", 0, kMaxProcesses - 1, 0)
                                     : set.number("RANK", 0, kMaxProcesses - 1);
  find_torch_master(set, found);
  find_local_place(set, found);
  found.restart_count = set.number_or("TORCHELASTIC_RESTART_COUNT", 0, kMaxProcesses, 0);
  found.store_is_served = is_served(set, found.master);
  set.require_all(
      begun_by,
      "torchrun and diffract launch set all of them; by hand, set RANK, WORLD_SIZE, MASTER_ADDR and "
      "MASTER_PORT in each process");
  return found;
}

// None when the set is begun but not whole and `may_be_half`.
std::optional<Environment> read_mpi(const Variables& variables, const Names& names, bool may_be_half) {
  VariableSet set(variables, names.source);
  Environment found;
  read_numbers(set, names, found);
  if (!set.whole() && may_be_half) return std::nullopt;
  set.require_all(names.rank, "Start the job with mpirun or mpiexec, or use diffract launch");
  find_master(set, "", set.has(names.job) ? set.text(names.job) : "", found);
  set.require_all(names.rank, "On several hosts, name the host of rank 0: mpirun -x MASTER_ADDR=HOST");
  return found;
}

int slurm_local_size(VariableSet& set, const Environment& found, int nodes, int node) {
  for (const char* name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    if (!set.has(name)) continue;
    const auto counts = expand_task_counts(set.text(name));
    if (static_cast<size_t>(node) < counts.size()) return counts[static_cast<size_t>(node)];
  }
  return (found.world_size + nodes - 1) / nodes;
}

Environment read_slurm(const Variables& variables) {
  VariableSet set(variables, "Slurm");
  Environment found;
  found.source = "Slurm";
  found.world_size = set.number("SLURM_NTASKS", 1, kMaxProcesses);
  found.rank = set.number("SLURM_PROCID", 0, kMaxProcesses - 1);
  found.local_rank = set.number("SLURM_LOCALID", 0, kMaxProcesses - 1);
  const int nodes = set.number("SLURM_NNODES", 1, kMaxProcesses);
  const int node = set.number("SLURM_NODEID", 0, kMaxProcesses - 1);
  // A batch script has all but this one; a single process there needs no master.
  const std::string hosts = found.world_size > 1 || set.has("SLURM_STEP_NODELIST")
                                ? set.text("SLURM_STEP_NODELIST")
                                : std::string("localhost");
  set.require_all("SLURM_PROCID", "Start the processes with srun; a batch script alone is not a step");
  found.local_world_size = slurm_local_size(set, found, nodes, node);
  const auto step = set.number_or("SLURM_STEP_ID", 0, 1 << 30, 0);
  const std::string job = set.has("SLURM_JOB_ID") ? fmt::format("{}.{}", set.text("SLURM_JOB_ID"), step) : "";
  find_master(set, expand_host_list(hosts).front(), job, found);
  return found;
}

Environment read_kubernetes(const Variables& variables) {
  VariableSet set(variables, "Kubernetes");
  Environment found;
  found.source = "Kubernetes";
  found.rank = set.number("JOB_COMPLETION_INDEX", 0, kMaxProcesses - 1);
  found.world_size = set.number("WORLD_SIZE", 1, kMaxProcesses);  // a pod has a host of its own
  find_master(set, "", "", found);
  set.require_all("JOB_COMPLETION_INDEX",
                  "In the pod's template, set WORLD_SIZE to the job's completions and MASTER_ADDR to the pod "
                  "with index 0 (JOB-0.SERVICE)");
  return found;
}

// The shell of an interactive allocation and a batch script have numbers from Slurm's reserved ones, which no
// step that srun starts has.
bool is_no_slurm_step(const Variables& variables) {
  constexpr uint64_t kFirstReserved = 4294967280;
  const auto found = variables.find("SLURM_STEP_ID");
  if (found == variables.end()) return false;
  const std::string& id = found->second;
  uint64_t number = 0;
  const auto read = std::from_chars(id.data(), id.data() + id.size(), number);
  return read.ec == std::errc() && read.ptr == id.data() + id.size() && number >= kFirstReserved &&
         number <= UINT32_MAX;
}

Environment detect(const Variables& variables) {
  const VariableSet any(variables, "");
  if (any.has("RANK")) return read_torchrun(variables, "RANK");
  const bool slurm_step = any.has("SLURM_PROCID") && any.has("SLURM_STEP_NODELIST");
  for (const Names& names : kMpi) {
    if (!any.has(names.rank)) continue;
    // srun sets some of PMI's variables beside its own.
    if (auto found = read_mpi(variables, names, slurm_step)) return *found;
  }
  if (any.has("SLURM_PROCID")) return is_no_slurm_step(variables) ? Environment() : read_slurm(variables);
  if (any.has("JOB_COMPLETION_INDEX")) return read_kubernetes(variables);
  for (const char* name : {"WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"})
    if (any.has(name)) return read_torchrun(variables, name);
  return {};
}

}  // namespace

std::string Environment::who() const { return fmt::format("rank {} of {}", rank, world_size); }

Environment detect_environment(const Variables& variables) {
  Environment found = detect(variables);
  check_ranges(found);
  return found;
}

Environment environment_of(const Variables& variables, int rank, int world_size) {
  if (world_size < 1 || world_size > kMaxProcesses || rank < 0 || rank >= world_size)
    throw UsageError("process group: rank {} of {}; expected a rank from 0 to below the world size", rank,
                     world_size);
  Environment found;
  try {
    found = detect_environment(variables);
  } catch (const UsageError&) {
    found = {};  // a half-set environment is not needed here
  }
  if (found.source.empty() || found.world_size != world_size) {
    VariableSet set(variables, "process group");
    found = {.source = "arguments", .rank = rank, .world_size = world_size};
    if (world_size > 1) {
      found.master.host = set.text("MASTER_ADDR");
      found.master.port = static_cast<uint16_t>(set.number("MASTER_PORT", 1, 65535));
    }
    find_local_place(set, found);
    set.require_all("a world of more than one process",
                    "Say where rank 0 is, or start the processes with spawn");
    found.store_is_served = is_served(set, found.master);
  }
  found.rank = rank;
  return found;
}

Variables current_variables() {
  Variables all;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view line = *entry;
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) all.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return all;
}

}  // namespace diffract::distributed
