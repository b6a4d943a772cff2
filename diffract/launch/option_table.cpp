#include "diffract/launch/option_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::launch {

namespace {

std::vector<OptionSpec> own_options() {
  return {
      {"nnodes", 0, "N|MIN:MAX", true, "Machines of the job; a range lets it go on when one is lost [1]"},
      {"nproc-per-node", 0, "N|cpu|gpu|auto", true, "Processes on this machine [1]"},
      {"node-rank", 0, "R", true, "Which machine this is, of a static rendezvous [0]"},
      {"master-addr", 0, "HOST", true, "The machine with node rank 0 [127.0.0.1]"},
      {"master-port", 0, "PORT", true, "A free port there [29500]"},
      {"store-port", 0, "PORT", true, "The port of several machines' store, on the first [any free one]"},
      {"local-addr", 0, "ADDRESS", true, "The address of this machine that the others are to use"},
      {"rdzv-backend", 0, "static|c10d", true, "Who is the host: node 0, or the first to come [static]"},
      {"rdzv-endpoint", 0, "HOST:PORT", true, "Where the machines meet"},
      {"rdzv-id", 0, "ID", true, "The name of the job, the same on all machines [none]"},
      {"rdzv-conf", 0, "K=V,...", true,
       "join_timeout, last_call_timeout, keep_alive_interval (s), keep_alive_max_attempt, is_host"},
      {"standalone", 0, "", true, "One machine, any free port"},
      {"max-restarts", 0, "N", true, "Start the processes again so often after a failure [0]"},
      {"monitor-interval", 0, "S", true, "How often heartbeats are looked at [0.1]"},
      {"grace-period", 0, "S", true, "From SIGTERM to SIGKILL when processes are stopped [30]"},
      {"hang-timeout", 0, "S", true, "A process without a heartbeat for so long is hung; 0: never [10]"},
      {"log-dir", 0, "DIR", false, "Folder of the log files and error.json"},
      {"redirects", 'r', "STREAMS", false,
       "Streams that go to log files: 1 stdout, 2 stderr, 3 both; 0:1,1:2 by rank"},
      {"tee", 't', "STREAMS", false, "Streams that go to log files and to the console"},
      {"local-ranks-filter", 0, "R,...", true, "Show only these local ranks on the console"},
      {"role", 0, "NAME", false, "The name of the processes in logs [default]"},
      {"module", 'm', "", false, "PROGRAM is a Python module"},
      {"no-python", 0, "", true, "PROGRAM is run as it is, though its name ends in .py"},
      {"virtual-local-rank", 0, "", true, "Each process sees its GPU as device 0"},
      {"num-processes", 0, "N", true, "accelerate's: processes on all machines together"},
      {"num-machines", 0, "N", true, "accelerate's --nnodes"},
      {"machine-rank", 0, "R", true, "accelerate's --node-rank"},
      {"main-process-ip", 0, "HOST", true, "accelerate's --master-addr"},
      {"main-process-port", 0, "PORT", true, "accelerate's --master-port"},
      {"gpu-ids", 0, "I,...|all", true, "accelerate's: the GPUs to use"},
      {"cpu", 0, "", false, "accelerate's: use no GPU"},
      {"num-cpu-threads-per-process", 0, "N", true, "accelerate's: OMP_NUM_THREADS of each process"},
      {"mixed-precision", 0, "no|fp16|bf16|fp8", false,
       "accelerate's: handed to PROGRAM as ACCELERATE_MIXED_PRECISION; generate has --dtype"},
      {"dynamo-backend", 0, "NAME", false,
       "accelerate's: handed to PROGRAM as ACCELERATE_DYNAMO_BACKEND; diffract compiles no models"},
      {"config-file", 0, "FILE", false, "accelerate's: not read; the error names the options to give"},
      {"help", 'h', "", false, "This text"},
  };
}

}  // namespace

const std::vector<OptionSpec>& option_table() {
  static const std::vector<OptionSpec> table = [] {
    std::vector<OptionSpec> all = own_options();
    const auto others = options_without_effect();
    all.insert(all.end(), others.begin(), others.end());
    return all;
  }();
  return table;
}

std::string option_name(std::string_view argument) {
  std::string name(argument.substr(0, argument.find('=')));
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

const OptionSpec* find_option(std::string_view argument) {
  if (!argument.starts_with("--")) return nullptr;
  const std::string name = option_name(argument).substr(2);
  for (const OptionSpec& spec : option_table())
    if (spec.name == name) return &spec;
  return nullptr;
}

namespace {

const OptionSpec* find_letter(std::string_view argument) {
  if (argument.size() < 2 || argument[0] != '-' || argument[1] == '-') return nullptr;
  for (const OptionSpec& spec : option_table())
    if (spec.letter != 0 && spec.letter == argument[1]) return &spec;
  return nullptr;
}

[[noreturn]] void fail_unknown(const std::string& argument) {
  std::vector<std::string> known;
  for (const OptionSpec& spec : option_table()) known.push_back(fmt::format("--{}", spec.name));
  throw UsageError("unknown option {}{}. See diffract launch --help", argument.substr(0, argument.find('=')),
                   hint_for(option_name(argument), foreign_options(), known));
}

}  // namespace

GivenOption read_option(const std::vector<std::string>& arguments, size_t& index) {
  const std::string& argument = arguments[index++];
  const bool is_long = argument.starts_with("--");
  const OptionSpec* spec = is_long ? find_option(argument) : find_letter(argument);
  if (!spec) fail_unknown(argument);
  const size_t name_end = is_long ? std::min(argument.find('='), argument.size()) : 2;
  GivenOption given{.spec = spec, .spelled = argument.substr(0, name_end), .value = ""};
  const bool attached = name_end < argument.size();
  if (spec->value.empty()) {
    if (attached) throw UsageError("{}: {} takes no value", argument, given.spelled);
  } else if (attached) {
    const size_t start = argument[name_end] == '=' ? name_end + 1 : name_end;  // -r=3 and -r3
    given.value = argument.substr(start);
  } else {
    if (index >= arguments.size()) throw UsageError("{}: expected {} behind it", given.spelled, spec->value);
    given.value = arguments[index++];
  }
  return given;
}

}  // namespace diffract::launch
