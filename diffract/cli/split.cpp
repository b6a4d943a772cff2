#include "diffract/distributed/split.h"

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/json_output.h"
#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/json.h"

namespace diffract::cli {
namespace {

constexpr int kMaxProcesses = 65536;

struct SplitOptions {
  std::string file;
  int num_processes = 0;
  bool apply_padding = false;
};

constexpr uint64_t kMaxBytes = 256 << 20;

// A file, "-" for standard input, or the JSON itself where a script has it at hand.
Json load_inputs(const std::string& file) {
  try {
    if (file.starts_with('[') || file.starts_with('{')) return parse_json(file, "the list");
    return parse_json(load_text_or_stream(file, kMaxBytes), file);
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the file is the user's, not a model's
  }
}

void split(const SplitOptions& options) {
  if (options.num_processes < 1 || options.num_processes > kMaxProcesses)
    throw UsageError("--num-processes {}: expected 1 to {}", options.num_processes, kMaxProcesses);
  const Json inputs = load_inputs(options.file);
  if (!inputs.is_array() && !inputs.is_object())
    throw UsageError("{}: is {}; expected a list or an object of lists", options.file, excerpt(inputs));
  Json shares = Json::array();
  for (int rank = 0; rank < options.num_processes; ++rank)
    shares.push_back(distributed::split(inputs, {.rank = rank, .world_size = options.num_processes},
                                        options.apply_padding));
  print_json(shares);
}

}  // namespace

Command split_command() {
  return {.name = "split",
          .summary = "shows what each process would get of a list",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto options = std::make_shared<SplitOptions>();
            app.add_option("--num-processes", options->num_processes, "Between how many")->required();
            app.add_flag("--apply-padding", options->apply_padding,
                         "Repeat the last item until all shares are as long as the longest");
            add_path(app, "file", options->file,
                     "A JSON list, or an object of lists: a file, - for standard input, or the JSON itself; "
                     "prints a list of shares")
                ->required();
            app.footer("Example:\n  diffract split --num-processes 2 prompts.json");
            return [options] { split(*options); };
          }};
}

}  // namespace diffract::cli
