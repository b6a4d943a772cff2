#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/json_output.h"
#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/core/trace.h"
#include "diffract/core/version.h"
#include "diffract/distributed/environment.h"
#include "diffract/jobs/foreign_names.h"
#include "diffract/jobs/job_board.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::cli {
namespace {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {generate_command(), tokenize_command(), info_command(),
                                           doctor_command(),   plan_command(),     split_command(),
                                           launch_command()};
  return all;
}

std::string version_text() { return fmt::format("diffract {}", kVersion); }

std::string overview() {
  std::string text = version_text() + ": diffusion pictures from diffusers checkpoints, without Python\n\n";
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
  if (name.find(' ') != std::string::npos)
    throw UsageError("\"{0}\" is no command. To draw it: diffract generate \"{0}\"", name);
  throw UsageError("unknown command \"{}\"{}. See diffract --help", name,
                   hint_for(name, jobs::foreign_commands(), names));
}

// What is asked of the program as a whole; nothing for a command.
std::optional<std::string> answer(const std::vector<std::string>& arguments) {
  const std::string& first = arguments[0];
  if (first == "--version" || first == "-V" || first == "version") return version_text() + "\n";
  const bool is_bare_help = first == "help" && (arguments.size() == 1 || arguments[1].starts_with('-'));
  if (first == "--help" || first == "-h" || is_bare_help) return overview();
  return {};
}

int run_command(const Command& command, std::vector<std::string> arguments) {
  CLI::App app(command.summary, command.name);
  app.get_formatter()->column_width(36);
  app.set_version_flag("-V,--version", version_text(), "Print the version and exit");
  const auto work = command.declare(app);
  refuse_unknown_options(app, arguments);
  arguments = split_short_options(app, arguments);
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a vector from its back
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::CallForVersion&) {
    fmt::print("{}\n", version_text());
    return 0;
  } catch (const CLI::ParseError& error) {
    throw UsageError("{}. See diffract {} --help", error.what(), command.name);
  }
  work();
  return 0;
}

int run(int argc, const char* const* argv) {
  auto arguments = normalise_arguments(argc, argv);
  if (arguments.empty()) {
    fmt::print("{}", overview());
    return error_info(ErrorKind::usage).exit_code;
  }
  if (const auto text = answer(arguments)) {
    fmt::print("{}", *text);
    return 0;
  }
  std::vector<std::string> given(argv + 1, argv + argc);
  if (arguments[0] == "help") arguments = given = {arguments[1], "--help"};
  const Command& command = find_command(arguments[0]);
  if (command.run_unparsed) return command.run_unparsed({given.begin() + 1, given.end()});
  arguments.erase(arguments.begin());
  return run_command(command, std::move(arguments));
}

// Whether a script waits for one JSON object, also when there is nothing to put into it. Of a job's processes
// it is the first that prints one.
bool owes_json(int argc, const char* const* argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  if (std::find(arguments.begin(), end, "--json") == end || arguments[0] == "launch") return false;
  try {
    return distributed::detect_environment(distributed::current_variables()).rank == 0;
  } catch (const Error&) {
    return true;
  }
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
    jobs::Failure failure = jobs::current_failure();
    if (std::ferror(stdout)) {
      if (failure.kind == ErrorKind::internal) failure.kind = ErrorKind::io;
    } else if (owes_json(argc, argv)) {
      print_json_error(failure);
    }
    return report(failure.kind, failure.message);
  }
}

// What was printed may have been lost: a full disk, a reader that is gone.
int flush(int code) {
  const char* why = std::ferror(stdout) ? "a part of it is lost" : nullptr;
  if (std::fflush(stdout) != 0) why = std::strerror(errno);
  if (code != 0 || !why) return code;
  return report(ErrorKind::io, fmt::format("standard output: cannot be written: {}", why));
}

// Whether a tool looks at what is left at the end.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kEndIsWatched = true;
#else
constexpr bool kEndIsWatched = false;
#endif

// Not as a return from main() ends it: libtorch takes its tables of operators down one by one, which takes as
// long as two steps of a small model.
int end_process(int code) {
  tensor::await_backends();
  if (kEndIsWatched) return code;
  trace::write();
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace
}  // namespace diffract::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of that write, not the end of the job
  return diffract::cli::end_process(diffract::cli::flush(diffract::cli::guarded_run(argc, argv)));
}
