#pragma once
#include <functional>
#include <string>

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
};

Command generate_command();
Command tokenize_command();
Command info_command();
Command doctor_command();
Command plan_command();

}  // namespace diffract::cli
