#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace diffract::launch {

using Seconds = std::chrono::duration<double>;

/// Which of a worker's streams: bit 1 stdout, bit 2 stderr, as torchrun counts them.
struct Streams {
  static constexpr int kOut = 1, kErr = 2;
  int all = 0;
  std::map<int, int> by_local_rank;  // when not empty, the others have none

  int of(int local_rank) const;
  bool any() const;
};

/// How the agents of several nodes find and watch each other.
struct Rendezvous {
  bool dynamic = false;            // c10d: the first to bind is the host; else node 0 is ("static")
  std::string host = "127.0.0.1";  // of the endpoint
  uint16_t port = 29500;
  std::optional<bool> is_host;  // told by --rdzv-conf; else the machine that the endpoint names
  std::string id = "none";
  Seconds join_timeout{600};      // until the fewest nodes are there
  Seconds last_call_timeout{30};  // for more than the fewest
  Seconds beat_interval{0.5};     // between agents
  Seconds silence{3};             // after which a node counts as lost
};

/// What `diffract launch` was asked to do; names and defaults are torchrun's.
struct LaunchOptions {
  int min_nodes = 1, max_nodes = 1;
  int processes = 1;  // of this node
  int node_rank = 0;
  std::string master_addr = "127.0.0.1";
  uint16_t master_port = 29500;  // 0: any free one
  bool master_port_given = false;
  uint16_t store_port = 0;  // of several machines, on the first; 0: any free one
  std::string local_addr;
  Rendezvous rendezvous;
  int max_restarts = 0;
  Seconds monitor_interval{0.1};
  Seconds grace_period{30};
  Seconds hang_timeout{10};  // 0: hangs are not looked for
  std::string log_dir;
  Streams redirects, tee;
  std::set<int> local_ranks_filter;  // empty: all are shown
  std::string role = "default";
  std::optional<std::string> gpu_ids;              // for CUDA_VISIBLE_DEVICES
  std::map<std::string, std::string> environment;  // of the processes, beside what the launcher always sets
  bool cpu = false, module = false, no_python = false, virtual_local_rank = false, help = false;
  std::vector<std::string> command;  // the program and its arguments
  std::vector<std::string> notes;    // what the user should be told of the options
};

/// What the parser asks of its surroundings.
struct Surroundings {
  std::function<const char*(const char* name)> environment;
  /// True when `diffract generate` has an option of this name ("--num-processes").
  std::function<bool(const std::string& option)> generate_knows;
  std::function<int()> cpu_count, gpu_count;
};

/// Reads the arguments behind `diffract launch`, and PET_* variables for what they do not say. Throws
/// UsageError naming the option, what was given and what was expected.
LaunchOptions parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings);

/// The text of `diffract launch --help`.
std::string help_text();

}  // namespace diffract::launch
