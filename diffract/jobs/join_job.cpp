#include "diffract/jobs/join_job.h"

#include <cstdlib>

#include "diffract/distributed/environment.h"
#include "diffract/distributed/rendezvous.h"
#include "diffract/jobs/store_board.h"

namespace diffract::jobs {
namespace {

// Starts of the same job, and jobs that meet in one launcher's store, must not see each other's numbers.
std::string run_name(const distributed::Variables& variables, int restart_count) {
  const auto id = variables.find("TORCHELASTIC_RUN_ID");
  return fmt::format("{}/{}", id == variables.end() ? "job" : id->second, restart_count);
}

}  // namespace

bool may_start_again() {
  const auto variables = distributed::current_variables();
  const auto is_above_zero = [&](const char* name) {
    const auto found = variables.find(name);
    return found != variables.end() && std::strtol(found->second.c_str(), nullptr, 10) > 0;
  };
  return is_above_zero("TORCHELASTIC_MAX_RESTARTS") || is_above_zero("TORCHELASTIC_RESTART_COUNT");
}

JobPlace join_job(const std::function<void(int world_size)>& check) {
  const auto variables = distributed::current_variables();
  const auto environment = distributed::detect_environment(variables);
  check(environment.world_size);
  const bool is_restart = environment.restart_count > 0;
  JobPlace place{
      .board = {}, .local_rank = environment.local_rank, .local_world_size = environment.local_world_size};
  if (environment.world_size == 1) {
    place.board = std::make_unique<LocalBoard>(is_restart);
    return place;
  }
  const auto store = distributed::open_store(environment, distributed::kDefaultTimeout);
  place.board = std::make_unique<StoreBoard>(
      store, JobMember{.place = {.rank = environment.rank, .world_size = environment.world_size},
                       .local_rank = environment.local_rank,
                       .local_world_size = environment.local_world_size,
                       .run = run_name(variables, environment.restart_count),
                       .is_restart = is_restart});
  return place;
}

}  // namespace diffract::jobs
