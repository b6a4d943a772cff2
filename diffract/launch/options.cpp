#include "diffract/launch/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "diffract/core/error.h"
#include "diffract/launch/option_table.h"
#include "diffract/launch/option_values.h"
#include "diffract/launch/trailing_options.h"

namespace diffract::launch {
namespace {

constexpr uint16_t kDynamicPort = 29400;  // torchrun's, of an endpoint without one

// What was given, by the option's name; the last one counts.
class Given {
 public:
  void add(const GivenOption& option) { by_name_[std::string(option.spec->name)] = option; }
  bool has(const std::string& name) const { return by_name_.contains(name); }
  /// Calls use(spelled, value) when one of the names was given. Two names of one thing may not contradict.
  template <typename Use>
  bool use(std::initializer_list<const char*> names, Use&& use_value) const {
    const GivenOption* found = nullptr;
    for (const char* name : names) {
      const auto option = by_name_.find(name);
      if (option == by_name_.end()) continue;
      if (found && found->value != option->second.value)
        throw UsageError("{} {} and {} {} contradict each other; give one of them", found->spelled,
                         found->value, option->second.spelled, option->second.value);
      found = &option->second;
    }
    if (found) use_value(found->spelled, found->value);
    return found != nullptr;
  }

 private:
  std::map<std::string, GivenOption> by_name_;
};

// Names of one thing.
using Names = std::array<std::string_view, 2>;
constexpr std::array<Names, 5> kAliases = {
    Names{"nnodes", "num-machines"}, Names{"node-rank", "machine-rank"},
    Names{"nproc-per-node", "num-processes"}, Names{"master-addr", "main-process-ip"},
    Names{"master-port", "main-process-port"}};

// By this name or its other one.
bool was_given(const Given& given, std::string_view name) {
  if (given.has(std::string(name))) return true;
  return std::any_of(kAliases.begin(), kAliases.end(), [&](const Names& names) {
    const bool own = names[0] == name || names[1] == name;
    return own && (given.has(std::string(names[0])) || given.has(std::string(names[1])));
  });
}

void add_from_environment(Given& given, const Surroundings& surroundings) {
  const Given command_line = given;
  for (const OptionSpec& spec : option_table()) {
    if (spec.name == "help") continue;
    std::string variable = fmt::format("PET_{}", spec.name);
    for (char& c : variable)
      c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char* value = surroundings.environment(variable.c_str());
    if (!value || !*value) continue;
    if (spec.value.empty() && std::string_view(value) == "0") continue;  // torchrun's flags: 0 is off, 1 on
    if (was_given(command_line, spec.name)) continue;
    given.add({.spec = &spec, .spelled = variable, .value = spec.value.empty() ? "" : value});
  }
}

void settle_nodes(LaunchOptions& o, const Given& given) {
  given.use({"nnodes", "num-machines"},
            [&](const auto& name, const auto& text) { parse_node_range(name, text, o); });
  given.use({"node-rank", "machine-rank"}, [&](const auto& name, const auto& text) {
    o.node_rank = static_cast<int>(parse_integer(name, text, 0, 65535));
  });
}

void settle_processes(LaunchOptions& o, const Given& given, const Surroundings& surroundings) {
  given.use({"gpu-ids"}, [&](const auto& name, const auto& text) {
    if (text == "all") return;
    o.processes = static_cast<int>(parse_ranks(name, text).size());
    o.gpu_ids = text;
  });
  const bool per_node = given.use({"nproc-per-node"}, [&](const auto& name, const auto& text) {
    const int gpus = o.cpu ? 0 : o.gpu_ids ? o.processes : surroundings.gpu_count();
    if (text == "gpu" && gpus == 0)
      throw UsageError("{} gpu: this machine has no GPU that may be used", name);
    if (text == "gpu" || (text == "auto" && gpus > 0))
      o.processes = gpus;
    else if (text == "cpu" || text == "auto")
      o.processes = surroundings.cpu_count();
    else if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0])))
      throw UsageError("{} {}: expected a number, cpu, gpu or auto", name, text);
    else
      o.processes = static_cast<int>(parse_integer(name, text, 1, 4096));
  });
  given.use({"num-processes"}, [&](const auto& name, const auto& text) {
    const int total = static_cast<int>(parse_integer(name, text, 1, 1 << 20));
    if (o.min_nodes != o.max_nodes)
      throw UsageError(
          "{} {}: is the number on all machines together; with a range of machines give "
          "--nproc-per-node",
          name, text);
    if (total % o.max_nodes != 0)
      throw UsageError("{} {}: does not divide between {} machines", name, total, o.max_nodes);
    if (per_node && o.processes * o.max_nodes != total)
      throw UsageError("{} {}: contradicts {} processes on each of {} machines; give one of them", name,
                       total, o.processes, o.max_nodes);
    o.processes = total / o.max_nodes;
  });
}

void settle_rendezvous(LaunchOptions& o, const Given& given) {
  Rendezvous& r = o.rendezvous;
  given.use({"master-addr", "main-process-ip"}, [&](const auto& name, const auto& text) {
    uint16_t port = o.master_port;
    parse_endpoint(name, text, o.master_addr, port);
  });
  o.master_port_given =
      given.use({"master-port", "main-process-port"}, [&](const auto& name, const auto& text) {
        o.master_port = static_cast<uint16_t>(parse_integer(name, text, 0, 65535));
      });
  given.use({"rdzv-backend"}, [&](const auto& name, const auto& text) {
    if (text != "static" && text != "c10d")
      throw UsageError("{} {}: expected static or c10d{}", name, text,
                       text.starts_with("etcd") ? " (c10d needs no server of its own)" : "");
    r.dynamic = text == "c10d";
  });
  r.host = o.master_addr;
  r.port = o.master_port;
  const bool endpoint = given.use({"rdzv-endpoint"}, [&](const auto& name, const auto& text) {
    if (r.dynamic) r.port = kDynamicPort;
    parse_endpoint(name, text, r.host, r.port);
  });
  given.use({"rdzv-id"}, [&](const auto& name, const auto& text) {
    if (text.size() > 200) throw UsageError("{}: has {} bytes; expected at most 200", name, text.size());
    r.id = text;
  });
  given.use({"rdzv-conf"},
            [&](const auto& name, const auto& text) { parse_rendezvous_settings(name, text, r); });
  if (given.has("standalone")) {
    if (o.max_nodes > 1)
      throw UsageError("--standalone is for one machine; --nnodes asks for {}", o.max_nodes);
    o.master_addr = "127.0.0.1";
    o.master_port = 0;
    o.master_port_given = false;
  }
  if (o.max_nodes == 1) {
    if (o.node_rank != 0)
      throw UsageError("--node-rank {}: with one machine it is 0. Is --nnodes missing?", o.node_rank);
    return;
  }
  if (r.dynamic && !endpoint)
    throw UsageError("--rdzv-backend c10d on {} machines needs --rdzv-endpoint HOST:PORT, the same on all",
                     o.max_nodes);
  if (!r.dynamic && o.node_rank >= o.max_nodes)
    throw UsageError("--node-rank {}: expected 0 to {}, for --nnodes {}", o.node_rank, o.max_nodes - 1,
                     o.max_nodes);
  if (r.port == 0)
    throw UsageError(
        "port 0: several machines need a port that all know; give --master-port or "
        "--rdzv-endpoint HOST:PORT");
}

void refuse_config_file(const std::string& name, const std::string& file) {
  throw UsageError(
      "{} {}: a file of accelerate's is not read. Give what it says as options: num_processes as "
      "--num_processes, num_machines as --num_machines, machine_rank as --machine_rank, main_process_ip and "
      "main_process_port under their names, gpu_ids as --gpu_ids, use_cpu as --cpu",
      name, file);
}

// How generate is told what accelerate calls mixed precision.
std::string precision_of_generate(const std::string& value) {
  if (value == "fp16") return "give generate --dtype float16";
  if (value == "bf16") return "give generate --dtype bfloat16";
  if (value == "fp8") return "give generate --float8 and --dtype bfloat16";
  return "generate has nothing of this kind";
}

// What accelerate hands to its programs it hands over in variables.
void settle_accelerate(LaunchOptions& o, const Given& given) {
  given.use({"config-file"}, refuse_config_file);
  given.use({"num-cpu-threads-per-process"}, [&](const auto& name, const auto& text) {
    o.environment["OMP_NUM_THREADS"] = std::to_string(parse_integer(name, text, 1, 4096));
  });
  given.use({"mixed-precision"}, [&](const auto& name, const auto& text) {
    if (text != "no" && text != "fp16" && text != "bf16" && text != "fp8")
      throw UsageError("{} {}: expected no, fp16, bf16 or fp8", name, text);
    o.environment["ACCELERATE_MIXED_PRECISION"] = text;
    if (text != "no")
      o.notes.push_back(fmt::format("{} {} is left to the program: {}", name, text,
                                    o.command.front() == "generate"
                                        ? precision_of_generate(text)
                                        : "it finds ACCELERATE_MIXED_PRECISION=" + text));
  });
  given.use({"dynamo-backend"}, [&](const auto& name, const auto& text) {
    std::string& value = o.environment["ACCELERATE_DYNAMO_BACKEND"];
    for (const char c : text) value += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (value != "NO")
      o.notes.push_back(fmt::format("{} {} is left to the program; diffract compiles no models", name, text));
  });
  for (const OptionSpec& spec : options_without_effect())
    given.use({std::string(spec.name).c_str()}, [&](const auto& name, const auto& text) {
      if (text.empty() || text != spec.usual)
        o.notes.push_back(fmt::format("{} has no effect here: {}", name, spec.help));
    });
}

void settle_rest(LaunchOptions& o, const Given& given) {
  constexpr double kDay = 86400;
  const auto seconds = [&](const char* option, Seconds& value, double low) {
    given.use({option},
              [&](const auto& name, const auto& text) { value = parse_seconds(name, text, low, kDay); });
  };
  seconds("monitor-interval", o.monitor_interval, 0.001);
  seconds("grace-period", o.grace_period, 0);
  seconds("hang-timeout", o.hang_timeout, 0);
  given.use({"max-restarts"}, [&](const auto& name, const auto& text) {
    o.max_restarts = static_cast<int>(parse_integer(name, text, 0, 1'000'000));
  });
  given.use({"log-dir"}, [&](const auto&, const auto& text) { o.log_dir = text; });
  given.use({"redirects"},
            [&](const auto& name, const auto& text) { o.redirects = parse_streams(name, text); });
  given.use({"tee"}, [&](const auto& name, const auto& text) { o.tee = parse_streams(name, text); });
  given.use({"local-ranks-filter"},
            [&](const auto& name, const auto& text) { o.local_ranks_filter = parse_ranks(name, text); });
  given.use({"role"}, [&](const auto&, const auto& text) { o.role = text; });
  given.use({"store-port"}, [&](const auto& name, const auto& text) {
    o.store_port = static_cast<uint16_t>(parse_integer(name, text, 0, 65535));
    if (o.max_nodes == 1)
      throw UsageError("{} {}: is for several machines; on one the store is at --master-port", name, text);
    if (o.store_port != 0 && o.store_port == o.rendezvous.port)
      throw UsageError("{} {}: is the port at which the machines meet; give another", name, text);
  });
  given.use({"local-addr"}, [&](const auto&, const auto& text) { o.local_addr = text; });
  o.module = given.has("module");
  o.no_python = given.has("no-python");
  o.virtual_local_rank = given.has("virtual-local-rank");
  if (o.module && o.no_python) throw UsageError("--module and --no-python contradict each other");
}

}  // namespace

int Streams::of(int local_rank) const {
  if (by_local_rank.empty()) return all;
  const auto found = by_local_rank.find(local_rank);
  return found == by_local_rank.end() ? 0 : found->second;
}

bool Streams::any() const {
  return all != 0 || std::any_of(by_local_rank.begin(), by_local_rank.end(),
                                 [](const auto& entry) { return entry.second != 0; });
}

LaunchOptions parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  Given given;
  LaunchOptions o;
  size_t index = 0;
  while (index < arguments.size() && arguments[index].size() > 1 && arguments[index][0] == '-') {
    if (arguments[index] == "--") {
      ++index;
      break;
    }
    given.add(read_option(arguments, index));
  }
  if (given.has("help")) {
    o.help = true;
    return o;
  }
  o.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(index), arguments.end());
  if (o.command.empty())
    throw UsageError(
        "what is to be launched? Expected a program, or \"generate\". See diffract launch --help");
  if (!given.has("module")) {
    const auto trailing = take_trailing_options(o.command, surroundings.generate_knows);
    for (const GivenOption& option : trailing.taken) {
      o.notes.push_back(
          fmt::format("{}{}{} is taken as the launcher's, though it stands behind {}; put it before, or "
                      "\"--\" in front of what is the program's own",
                      option.spelled, option.value.empty() ? "" : " ", option.value, o.command.front()));
      given.add(option);
    }
    for (const std::string& option : trailing.left)
      o.notes.push_back(
          fmt::format("{} is left to {}: its file, or an argument of it, names such an option; if it is the "
                      "launcher's, put it before",
                      option, o.command.front()));
  }
  add_from_environment(given, surroundings);
  o.cpu = given.has("cpu");
  settle_nodes(o, given);
  settle_processes(o, given, surroundings);
  settle_rendezvous(o, given);
  settle_accelerate(o, given);
  settle_rest(o, given);
  return o;
}

}  // namespace diffract::launch
