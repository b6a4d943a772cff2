#include "diffract/launch/launch.h"

#include <CLI/CLI.hpp>

#include "diffract/cli/command.h"

namespace diffract::cli {
namespace {

bool generate_knows(const std::string& option) {
  CLI::App app;
  const auto work = generate_command().declare(app);
  return app.get_option_no_throw(option) != nullptr;
}

}  // namespace

Command launch_command() {
  return {.name = "launch",
          .summary = "starts a program, or generate, as many processes on one or more machines",
          .declare = {},
          .run_unparsed = [](const std::vector<std::string>& arguments) {
            return launch::run(arguments, generate_knows);
          }};
}

}  // namespace diffract::cli
