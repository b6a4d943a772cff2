#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/version.h"
#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/core/nearest.h"
#include "diffract/pipelines/job_board.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::cli {
namespace {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {generate_command(), tokenize_command(), info_command(),
                                           doctor_command(),   plan_command(),     split_command(),
                                           launch_command()};
  return all;
}

std::string overview() {
  std::string text =
      fmt::format("diffract {}: diffusion pictures from diffusers checkpoints, without Python\n\n", kVersion);
  for (const Command& command : commands())
    text += fmt::format("  diffract {:<10} {}\n", command.name, command.summary);
  return text +
         "\nEach command has --help with an example. Exit codes: 0 done, 2 usage, 3 checkpoint, 4 out of "
         "memory,\n"
         "5 lost peer, 6 files and disk, 7 some images failed, 70 a bug in diffract, 130 cancelled.\n";
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.name == name) return command;
    names.push_back(command.name);
  }
  const auto suggestion = nearest(name, names);
  throw UsageError("unknown command \"{}\"{}. See diffract --help", name,
                   suggestion ? fmt::format("; did you mean {}?", *suggestion) : "");
}

int run(int argc, const char* const* argv) {
  auto arguments = normalise_arguments(argc, argv);
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    fmt::print("{}", overview());
    return arguments.empty() ? error_info(ErrorKind::usage).exit_code : 0;
  }
  if (arguments[0] == "--version") {
    fmt::print("diffract {}\n", kVersion);
    return 0;
  }
  const Command& command = find_command(arguments[0]);
  if (command.run_unparsed) return command.run_unparsed({argv + 2, argv + argc});
  arguments.erase(arguments.begin());

  CLI::App app(command.summary, command.name);
  app.get_formatter()->column_width(36);
  const auto work = command.declare(app);
  refuse_unknown_options(app, arguments);
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a vector from its back
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    throw UsageError("{}. See diffract {} --help", error.what(), command.name);
  }
  work();
  return 0;
}

int report(ErrorKind kind, const std::string& message) {
  // What stopped a process that its launcher ends the launcher says, and it is to have the last word.
  if (kind == ErrorKind::cancelled && stopped_by_launcher())
    log::debug("{}", message);
  else
    log::write(log::Level::error, message);
  return error_info(kind).exit_code;
}

int guarded_run(int argc, const char* const* argv) {
  try {
    return run(argc, argv);
  } catch (...) {
    const pipelines::Failure failure = pipelines::current_failure();
    const bool printing = failure.kind == ErrorKind::internal && std::ferror(stdout);
    return report(printing ? ErrorKind::io : failure.kind, failure.message);
  }
}

// What was printed may have been lost: a full disk, a reader that is gone.
int flush(int code) {
  const char* why = std::ferror(stdout) ? "a part of it is lost" : nullptr;
  if (std::fflush(stdout) != 0) why = std::strerror(errno);
  if (code != 0 || !why) return code;
  return report(ErrorKind::io, fmt::format("standard output: cannot be written: {}", why));
}

}  // namespace
}  // namespace diffract::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of that write, not the end of the job
  const int code = diffract::cli::flush(diffract::cli::guarded_run(argc, argv));
  diffract::tensor::settle_backends();
  return code;
}
