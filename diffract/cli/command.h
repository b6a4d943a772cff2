#pragma once
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace diffract::cli {

/// A subcommand: its options are declared on a CLI::App, and `run` does the work after they are parsed. It
/// prints its result to stdout; logs and progress go to stderr.
struct Command {
  std::string name;
  std::string summary;
  /// Declares the options on `app` and gives what is to be run. The closure owns the variables the options
  /// fill.
  std::function<std::function<void()>(CLI::App& app)> declare;
  /// Instead of `declare`: takes the arguments as they are, since some belong to another program, and gives
  /// the exit code.
  std::function<int(const std::vector<std::string>& arguments)> run_unparsed = {};
};

Command generate_command();
Command tokenize_command();
Command info_command();
Command doctor_command();
Command split_command();
Command launch_command();
Command plan_command();

}  // namespace diffract::cli
