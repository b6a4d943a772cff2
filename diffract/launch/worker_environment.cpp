#include "diffract/launch/worker_environment.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "diffract/core/bounded_spin.h"
#include "diffract/core/cpus.h"
#include "diffract/core/heartbeat.h"

namespace diffract::launch {
namespace {

std::map<std::string, std::string> own_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

// A worker's stderr is a pipe to the launcher; 1: the terminal does not say how wide it is.
int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 1;
}

// The device at `index` of a list "2,5": what virtual local ranks see.
std::string device_at(const std::string& list, int index) {
  size_t begin = 0;
  for (int i = 0; i < index && begin != std::string::npos; ++i) {
    begin = list.find(',', begin);
    if (begin != std::string::npos) ++begin;
  }
  return begin == std::string::npos ? "" : list.substr(begin, list.find(',', begin) - begin);
}

void set_devices(std::map<std::string, std::string>& v, const LaunchOptions& options, int local_rank) {
  if (options.gpu_ids) v["CUDA_VISIBLE_DEVICES"] = *options.gpu_ids;
  if (options.cpu) {
    v["CUDA_VISIBLE_DEVICES"] = "";
    v["ACCELERATE_USE_CPU"] = "true";
  }
  v["LOCAL_RANK"] = std::to_string(local_rank);
  if (!options.virtual_local_rank || options.cpu) return;  // with no GPU to see, it would only mislead
  v["LOCAL_RANK"] = "0";
  const auto visible = v.find("CUDA_VISIBLE_DEVICES");
  v["CUDA_VISIBLE_DEVICES"] =
      visible == v.end() ? std::to_string(local_rank) : device_at(visible->second, local_rank);
}

}  // namespace

std::vector<std::string> worker_environment(const LaunchOptions& options, const Assignment& assignment,
                                            int local_rank, const std::string& error_file) {
  auto v = own_environment();
  for (const auto& [name, value] : options.environment) v[name] = value;
  v["RANK"] = std::to_string(assignment.first_rank + local_rank);
  v["GROUP_RANK"] = std::to_string(assignment.group_rank);
  v["ROLE_RANK"] = std::to_string(assignment.first_role_rank + local_rank);
  v["ROLE_NAME"] = options.role;
  v["LOCAL_WORLD_SIZE"] = std::to_string(options.processes);
  v["WORLD_SIZE"] = std::to_string(assignment.world_size);
  v["GROUP_WORLD_SIZE"] = std::to_string(assignment.group_size);
  v["ROLE_WORLD_SIZE"] = std::to_string(assignment.role_world_size);
  v["MASTER_ADDR"] = assignment.master_addr;
  v["MASTER_PORT"] = std::to_string(assignment.master_port);
  v["TORCHELASTIC_RESTART_COUNT"] = std::to_string(assignment.restart_count);
  v["TORCHELASTIC_MAX_RESTARTS"] = std::to_string(options.max_restarts);
  v["TORCHELASTIC_RUN_ID"] = options.rendezvous.id;
  v["TORCHELASTIC_USE_AGENT_STORE"] = "False";  // rank 0 serves the store; the launcher has none
  v["TORCHELASTIC_ERROR_FILE"] = error_file;
  v.try_emplace("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1");
  v.try_emplace("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT");
  // torchrun says 1, which leaves most of the machine idle; all of it for each would slow all down.
  if (options.processes > 1)
    v.try_emplace("OMP_NUM_THREADS", std::to_string(std::max(1, usable_cores() / options.processes)));
  if (v.count(kWaitPolicyVariable) == 0) v.try_emplace(kSpinVariable, kSpinTurns);
  if (::isatty(STDERR_FILENO)) v["DIFFRACT_TERMINAL"] = std::to_string(terminal_columns());
  set_devices(v, options, local_rank);
  v.erase(kHeartbeatVariable);  // of an outer launcher
  std::vector<std::string> environment;
  environment.reserve(v.size());
  for (const auto& [name, value] : v) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

}  // namespace diffract::launch
