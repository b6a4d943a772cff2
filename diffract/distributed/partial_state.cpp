#include "diffract/distributed/partial_state.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "diffract/core/log.h"
#include "diffract/distributed/cores.h"
#include "diffract/distributed/devices.h"

namespace diffract::distributed {
namespace {

struct Shared {
  Environment environment;
  at::Device device = at::kCPU;
};

std::optional<Shared>& shared() {
  static std::optional<Shared> state;
  return state;
}

// The world may have been made by init_process_group with ranks that the environment does not know.
Environment environment_of_world() {
  if (!is_initialized()) return detect_environment(current_variables());
  return environment_of(current_variables(), get_rank(), get_world_size());
}

}  // namespace

PartialState::PartialState(const PartialStateOptions& options) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (shared()) return;
  Shared state{.environment = environment_of_world()};
  const Environment& environment = state.environment;
  state.device = options.cpu ? at::Device(at::kCPU) : local_device(environment.local_rank);
  if (environment.world_size > 1 && !is_initialized())
    init_process_group(environment, options.cpu && options.backend.empty() ? "gloo" : options.backend,
                       options.timeout);
  else if (environment.world_size == 1 && state.device.is_cpu())
    share_cores(0, 1, false);
  log::debug("{}: {} ({}), device {}", environment.who(), own_host(),
             environment.source.empty() ? "alone" : environment.source, state.device.str());
  shared() = std::move(state);
}

int PartialState::process_index() const { return shared()->environment.rank; }
int PartialState::num_processes() const { return shared()->environment.world_size; }
int PartialState::local_process_index() const { return shared()->environment.local_rank; }
at::Device PartialState::device() const { return shared()->device; }

void PartialState::wait_for_everyone() const {
  if (num_processes() > 1) barrier();
}

void PartialState::let_others_go_on() const {
  try {
    wait_for_everyone();
  } catch (const Error& error) {
    log::warning("{}", error.what());  // the failure of `body` is the one to throw
  }
}

void PartialState::goes_first(bool first, const std::function<void()>& body) const {
  if (!first) wait_for_everyone();
  try {
    body();
  } catch (...) {
    if (first) let_others_go_on();
    throw;
  }
  if (first) wait_for_everyone();
}

at::Tensor PartialState::split_between_processes(const at::Tensor& inputs, bool apply_padding) const {
  const at::Tensor share = split(inputs, place(), apply_padding);
  return apply_padding && num_processes() > 1 ? share.to(device()) : share;
}

void PartialState::print(const std::string& line) const {
  if (!is_local_main_process()) return;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void PartialState::destroy_process_group() const {
  if (is_initialized()) distributed::destroy_process_group();
}

}  // namespace diffract::distributed
