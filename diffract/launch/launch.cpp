#include "diffract/launch/launch.h"

#include <cstdlib>

#include "diffract/core/cpus.h"
#include "diffract/core/log.h"
#include "diffract/launch/agent.h"
#include "diffract/launch/guard.h"
#include "diffract/launch/machine.h"
#include "diffract/launch/options.h"
#include "diffract/launch/program.h"

namespace diffract::launch {

int run(const std::vector<std::string>& arguments,
        const std::function<bool(const std::string&)>& generate_knows) {
  const LaunchOptions options =
      parse_options(arguments, {.environment = [](const char* name) { return std::getenv(name); },
                                .generate_knows = generate_knows,
                                .cpu_count = usable_cpus,
                                .gpu_count = visible_gpus});
  if (options.help) {
    fmt::print("{}", help_text());
    return 0;
  }
  const Program program = find_worker_program(options);
  for (const std::string& note : options.notes) log::info("launch: {}", note);
  return run_guarded([&](int lifeline) { return run_agent(options, program, lifeline); },
                     options.hang_timeout);
}

}  // namespace diffract::launch
