#include <gtest/gtest.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/launch/option_table.h"
#include "diffract/launch/options.h"
#include "tests/launch/running_launcher.h"
#include "tests/support/temp_folder.h"

namespace diffract::launch {
namespace {

using test::contains;
using Arguments = std::vector<std::string>;

std::map<std::string, std::string>& variables() {
  static std::map<std::string, std::string> all;
  return all;
}

LaunchOptions parse(const Arguments& arguments) {
  const auto environment = [](const char* name) -> const char* {
    const auto found = variables().find(name);
    return found == variables().end() ? nullptr : found->second.c_str();
  };
  const auto generate_knows = [](const std::string& option) {
    return option == "--prompt" || option == "--cpu";
  };
  return parse_options(arguments, {.environment = environment,
                                   .generate_knows = generate_knows,
                                   .cpu_count = [] { return 6; },
                                   .gpu_count = [] { return 3; }});
}

std::string error(const Arguments& arguments) {
  return test::error_of<UsageError>([&] { parse(arguments); });
}

class LaunchOptionsTest : public ::testing::Test {
 protected:
  void SetUp() override { variables().clear(); }
};

TEST_F(LaunchOptionsTest, HasTorchrunsDefaults) {
  const auto o = parse({"prog", "a", "--b"});
  EXPECT_EQ(o.command, (Arguments{"prog", "a", "--b"}));
  EXPECT_EQ(std::tie(o.min_nodes, o.max_nodes, o.processes, o.node_rank), std::make_tuple(1, 1, 1, 0));
  EXPECT_EQ(o.master_addr, "127.0.0.1");
  EXPECT_EQ(o.master_port, 29500);
  EXPECT_EQ(o.max_restarts, 0);
  EXPECT_EQ(o.monitor_interval.count(), 0.1);
  EXPECT_EQ(o.grace_period.count(), 30);
  EXPECT_EQ(o.hang_timeout.count(), 10);
  EXPECT_EQ(o.role, "default");
  EXPECT_EQ(o.rendezvous.id, "none");
  EXPECT_FALSE(o.rendezvous.dynamic);
  EXPECT_TRUE(o.notes.empty());
}

TEST_F(LaunchOptionsTest, ReadsEveryOptionInBothSpellings) {
  for (const char separator : {'-', '_'}) {
    Arguments arguments = {
        "--nnodes=2:4",
        "--nproc-per-node",
        "3",
        "--node-rank",
        "1",
        "--master-addr",
        "h",
        "--master-port=1234",
        "--store-port=1235",
        "--local-addr",
        "10.0.0.9",
        "--rdzv-backend=static",
        "--rdzv-endpoint",
        "[::1]:99",
        "--rdzv-id",
        "job",
        "--rdzv-conf",
        "join_timeout=5,last_call_timeout=1,keep_alive_interval=0.2,keep_alive_max_attempt=4,is_host=1",
        "--max-restarts",
        "7",
        "--monitor-interval",
        "0.5",
        "--grace-period",
        "2",
        "--hang-timeout",
        "3",
        "--log-dir",
        "logs",
        "-r",
        "3",
        "-t0:1,1:2",
        "--local-ranks-filter",
        "0,2",
        "--role",
        "drawer",
        "--no-python",
        "--virtual-local-rank",
        "--start-method",
        "spawn",
        "prog"};
    for (auto& a : arguments)
      if (a.starts_with("--"))
        std::replace(a.begin() + 2, std::find(a.begin(), a.end(), '='), '-', separator);
    const auto o = parse(arguments);
    EXPECT_EQ(std::tie(o.min_nodes, o.max_nodes, o.processes, o.node_rank), std::make_tuple(2, 4, 3, 1));
    EXPECT_EQ(o.master_addr, "h");
    EXPECT_EQ(o.master_port, 1234);
    EXPECT_TRUE(o.master_port_given);
    EXPECT_EQ(o.store_port, 1235);
    EXPECT_EQ(o.local_addr, "10.0.0.9");
    EXPECT_EQ(o.rendezvous.host, "::1");
    EXPECT_EQ(o.rendezvous.port, 99);
    EXPECT_EQ(o.rendezvous.id, "job");
    EXPECT_EQ(o.rendezvous.join_timeout.count(), 5);
    EXPECT_EQ(o.rendezvous.last_call_timeout.count(), 1);
    EXPECT_DOUBLE_EQ(o.rendezvous.silence.count(), 0.8);
    EXPECT_EQ(o.rendezvous.is_host, true);
    EXPECT_EQ(o.max_restarts, 7);
    EXPECT_EQ(o.monitor_interval.count(), 0.5);
    EXPECT_EQ(o.grace_period.count(), 2);
    EXPECT_EQ(o.hang_timeout.count(), 3);
    EXPECT_EQ(o.log_dir, "logs");
    EXPECT_EQ(o.redirects.of(5), 3);
    EXPECT_EQ(o.tee.of(0), 1);
    EXPECT_EQ(o.tee.of(1), 2);
    EXPECT_EQ(o.tee.of(2), 0);
    EXPECT_EQ(o.local_ranks_filter, (std::set<int>{0, 2}));
    EXPECT_EQ(o.role, "drawer");
    EXPECT_TRUE(o.no_python && o.virtual_local_rank);
    EXPECT_EQ(o.command, Arguments{"prog"});
  }
}

TEST_F(LaunchOptionsTest, KnowsAcceleratesNames) {
  const auto o =
      parse({"--num_processes=6", "--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "a.b",
             "--main_process_port", "4321", "--cpu", "--multi_gpu", "prog"});
  EXPECT_EQ(std::tie(o.min_nodes, o.max_nodes, o.processes, o.node_rank), std::make_tuple(2, 2, 3, 1));
  EXPECT_EQ(o.rendezvous.host, "a.b");
  EXPECT_EQ(o.rendezvous.port, 4321);
  EXPECT_TRUE(o.cpu);
  const auto gpus = parse({"--gpu_ids", "4,6", "prog"});
  EXPECT_EQ(gpus.processes, 2);
  EXPECT_EQ(gpus.gpu_ids, "4,6");
  EXPECT_FALSE(parse({"--gpu-ids=all", "prog"}).gpu_ids);
}

TEST_F(LaunchOptionsTest, HandsOverWhatAccelerateWould) {
  const auto o = parse({"--mixed_precision", "fp16", "--dynamo_backend=inductor",
                        "--num_cpu_threads_per_process", "3", "train.x"});
  EXPECT_EQ(o.environment.at("ACCELERATE_MIXED_PRECISION"), "fp16");
  EXPECT_EQ(o.environment.at("ACCELERATE_DYNAMO_BACKEND"), "INDUCTOR");
  EXPECT_EQ(o.environment.at("OMP_NUM_THREADS"), "3");
  ASSERT_EQ(o.notes.size(), 2u);
  EXPECT_TRUE(contains(o.notes[0], "--mixed_precision fp16 is left to the program")) << o.notes[0];
  EXPECT_TRUE(contains(o.notes[1], "--dynamo_backend inductor is left to the program")) << o.notes[1];
  EXPECT_TRUE(contains(parse({"--mixed-precision=bf16", "generate"}).notes.at(0), "--dtype bfloat16"));
  EXPECT_TRUE(parse({"--mixed_precision", "no", "--dynamo_backend", "no", "p"}).notes.empty());
}

TEST_F(LaunchOptionsTest, SaysWhatHasNoEffect) {
  for (const OptionSpec& spec : options_without_effect()) {
    const std::string option = "--" + std::string(spec.name);
    Arguments arguments = {option, "p"};
    if (!spec.value.empty()) arguments.insert(arguments.begin() + 1, "something");
    const auto o = parse(arguments);
    EXPECT_EQ(o.command, Arguments{"p"}) << option;
    ASSERT_EQ(o.notes.size(), 1u) << option;
    EXPECT_TRUE(contains(o.notes[0], option + " has no effect here: ")) << o.notes[0];
    EXPECT_TRUE(contains(help_text(), option + " ")) << option;
  }
  EXPECT_TRUE(parse({"--start-method", "spawn", "p"}).notes.empty());
  // Behind the program they are its own.
  EXPECT_EQ(parse({"p", "--debug", "--quiet"}).command.size(), 3u);
}

TEST_F(LaunchOptionsTest, KnowsOtherLaunchersWords) {
  for (const auto& [option, advice] : std::vector<std::pair<std::string, const char*>>{
           {"--nproc", "--nproc-per-node"},
           {"-n", "--nproc-per-node"},
           {"-np", "--nproc-per-node"},
           {"--hostfile", "mpirun"},
           {"--num_gpus", "--nproc-per-node gpu"},
           {"--use_deepspeed", "for training"},
           {"--nproc_per_nod", "did you mean --nproc-per-node?"}}) {
    const std::string message = error({option, "2", "p"});
    EXPECT_TRUE(contains(message, "unknown option " + option)) << message;
    EXPECT_TRUE(contains(message, advice)) << message;
  }
  // Only words that no option of ours has.
  for (const ForeignName& foreign : foreign_options())
    EXPECT_EQ(find_option("--" + std::string(foreign.name)), nullptr) << foreign.name;
}

TEST_F(LaunchOptionsTest, CountsDevices) {
  EXPECT_EQ(parse({"--nproc-per-node=cpu", "p"}).processes, 6);
  EXPECT_EQ(parse({"--nproc-per-node=gpu", "p"}).processes, 3);
  EXPECT_EQ(parse({"--nproc-per-node=auto", "p"}).processes, 3);
  EXPECT_EQ(parse({"--nproc-per-node=auto", "--cpu", "p"}).processes, 6);
  EXPECT_TRUE(contains(error({"--nproc-per-node=gpu", "--cpu", "p"}), "no GPU"));
}

TEST_F(LaunchOptionsTest, ReadsTheEnvironmentForWhatIsNotGiven) {
  variables() = {{"PET_NPROC_PER_NODE", "4"}, {"PET_MAX_RESTARTS", "2"}, {"PET_REDIRECTS", "3"},
                 {"PET_STANDALONE", "1"},     {"PET_NO_PYTHON", "0"},    {"PET_HANG_TIMEOUT", "1.5"}};
  const auto o = parse({"--max-restarts=5", "p"});
  EXPECT_EQ(o.processes, 4);
  EXPECT_EQ(o.max_restarts, 5);
  EXPECT_EQ(o.redirects.of(0), 3);
  EXPECT_EQ(o.master_port, 0);
  EXPECT_FALSE(o.no_python);
  EXPECT_EQ(o.hang_timeout.count(), 1.5);
  variables() = {{"PET_NNODES", "2"}, {"PET_NPROC_PER_NODE", "4"}, {"PET_MASTER_PORT", "29777"}};
  const auto by_alias = parse({"--num_machines=1", "--num_processes=2", "--main_process_port=29888", "p"});
  EXPECT_EQ(by_alias.max_nodes, 1);
  EXPECT_EQ(by_alias.processes, 2);
  EXPECT_EQ(by_alias.master_port, 29888);
  variables() = {{"PET_NNODES", "2"}, {"PET_NUM_MACHINES", "3"}};
  EXPECT_TRUE(contains(error({"p"}), "contradict")) << error({"p"});
  variables() = {{"PET_NNODES", "x"}};
  EXPECT_TRUE(contains(error({"p"}), "PET_NNODES x")) << error({"p"});
}

TEST_F(LaunchOptionsTest, TakesItsOwnFromBehindTheProgram) {
  const test::TempFolder folder;
  const std::string script = folder.file("run.py", "print('a dog')").string();
  const std::string knowing = folder.file("own.py", "parser.add_argument('--num_processes')").string();
  const auto o = parse({"python3", script, "--num_processes=2", "--steps", "3"});
  EXPECT_EQ(o.processes, 2);
  EXPECT_EQ(o.command, (Arguments{"python3", script, "--steps", "3"}));
  ASSERT_EQ(o.notes.size(), 1u);
  EXPECT_TRUE(contains(o.notes[0], "--num_processes 2 is taken as the launcher's")) << o.notes[0];
  EXPECT_EQ(parse({script, "--nproc_per_node", "3"}).processes, 3);
  const auto left = parse({knowing, "--num_processes=2"});  // the program has such an option
  EXPECT_EQ(left.command.size(), 2u);
  ASSERT_EQ(left.notes.size(), 1u);
  EXPECT_TRUE(contains(left.notes[0], "--num_processes=2 is left to ")) << left.notes[0];
  EXPECT_EQ(parse({script, "--", "--num_processes=2"}).command.size(), 3u);  // "--" says whose it is
  EXPECT_EQ(parse({script, "--cpu", "--role=x"}).command.size(), 3u);        // names that anyone may use
  EXPECT_EQ(parse({"sh", "-c", "exec x --num_processes=2", "--num_processes=2"}).command.size(), 4u);
  // What only looks like an option's name: a member, a message of a compiled program.
  const std::string member = folder.file("member.py", "print(state.num_processes)").string();
  EXPECT_EQ(parse({member, "--num_processes=2"}).processes, 2);
  const std::string parsed = folder.file("parsed.py", "run(args.num_processes)").string();
  EXPECT_EQ(parse({parsed, "--num_processes=2"}).command.size(), 2u);
  const auto program = [&](std::string_view strings) {
    return folder
        .file("program",
              "\x7f"
              "ELF" +
                  std::string(1, '\0') + std::string(strings) + '\0')
        .string();
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(parse({program("start fewer with --num-processes\0my_num_processes\0"sv), "--num_processes=2"})
                .processes,
            2);
  for (const auto strings : {"x\0--num_processes\0"sv, "x\0num_processes"sv, "-n,--num-processes\0y"sv})
    EXPECT_EQ(parse({program(strings), "--num_processes=2"}).command.size(), 2u);
  const auto generate = parse({"generate", "--prompt", "a", "--num-processes", "2", "--cpu", "--log-dir=l"});
  EXPECT_EQ(generate.command, (Arguments{"generate", "--prompt", "a", "--cpu"}));
  EXPECT_EQ(generate.log_dir, "l");
  EXPECT_EQ(generate.notes.size(), 2u);
}

TEST_F(LaunchOptionsTest, LeavesTheProgramsArgumentsAsTheyAre) {
  const Arguments command = {"prog", "--foo_bar=1", "-r", "", "--a=", "x=y", "--", "--nnodes", "2"};
  EXPECT_EQ(parse(command).command, command);
  EXPECT_EQ(parse({"--nproc-per-node=2", "--", "--odd-name", "x"}).command, (Arguments{"--odd-name", "x"}));
}

TEST_F(LaunchOptionsTest, SaysWhatIsWrong) {
  const std::vector<std::pair<Arguments, const char*>> cases = {
      {{}, "what is to be launched?"},
      {{"--nnodes", "2"}, "what is to be launched?"},
      {{"--nnodes"}, "--nnodes: expected N|MIN:MAX"},
      {{"--nprocs-per-node=2", "p"}, "did you mean --nproc-per-node?"},
      {{"--nproc-per-node=0", "p"}, "expected a whole number from 1"},
      {{"--nproc-per-node=many", "p"}, "expected a number, cpu, gpu or auto"},
      {{"--nproc-per-node=2x", "p"}, "expected a whole number"},
      {{"--nnodes=3:2", "p"}, "the fewest nodes, 3, are more than the most, 2"},
      {{"--nnodes=1:2:3", "p"}, "expected N or MIN:MAX"},
      {{"--nnodes=2", "--node-rank=2", "p"}, "--node-rank 2: expected 0 to 1"},
      {{"--node-rank=1", "p"}, "Is --nnodes missing?"},
      {{"--master-port=70000", "p"}, "from 0 to 65535"},
      {{"--nnodes=2", "--master-port=0", "p"}, "port 0"},
      {{"--rdzv-backend=etcd-v2", "p"}, "expected static or c10d"},
      {{"--nnodes=2", "--rdzv-backend=c10d", "p"}, "needs --rdzv-endpoint"},
      {{"--rdzv-conf=join_timeut=5", "p"}, "did you mean join_timeout?"},
      {{"--rdzv-conf=join_timeout", "p"}, "expected KEY=VALUE"},
      {{"--rdzv-conf=is_host=2", "p"}, "expected 0 or 1"},
      {{"--rdzv-endpoint=[::1", "p"}, "IPv6 address in brackets"},
      {{"--standalone", "--nnodes=2", "p"}, "one machine"},
      {{"--standalone=1", "p"}, "takes no value"},
      {{"--redirects=4", "p"}, "from 0 to 3"},
      {{"--tee=0:1,1", "p"}, "expected RANK:STREAMS"},
      {{"--local-ranks-filter=a", "p"}, "whole number"},
      {{"--monitor-interval=nan", "p"}, "expected seconds"},
      {{"--grace-period=-1", "p"}, "expected seconds"},
      {{"--num-processes=3", "--num-machines=2", "p"}, "does not divide between 2 machines"},
      {{"--num-processes=4", "--nproc-per-node=3", "p"}, "contradicts"},
      {{"--nnodes=2", "--num-machines=3", "p"}, "contradict each other"},
      {{"--num-processes=4", "--nnodes=1:2", "p"}, "give --nproc-per-node"},
      {{"-m", "--no-python", "p"}, "contradict"},
      {{"-x", "p"}, "unknown option -x"},
      {{"--store-port", "29600", "p"}, "on one the store is at --master-port"},
      {{"--nnodes=2", "--store-port=29500", "p"}, "is the port at which the machines meet"},
      {{"--config_file", "a.yaml", "p"}, "num_processes as --num_processes"},
      {{"--mixed_precision", "int8", "p"}, "expected no, fp16, bf16 or fp8"},
      {{"--num_cpu_threads_per_process", "0", "p"}, "expected a whole number from 1"},
  };
  for (const auto& [arguments, expected] : cases) {
    const std::string message = error(arguments);
    EXPECT_TRUE(contains(message, expected)) << message << "\n  expected: " << expected;
  }
}

TEST_F(LaunchOptionsTest, HelpNamesEveryOption) {
  EXPECT_TRUE(parse({"--help"}).help);
  EXPECT_TRUE(parse({"--nnodes", "2", "-h"}).help);
  for (const char* part :
       {"--nnodes N|MIN:MAX", "-r, --redirects", "--hang-timeout", "--num-processes", "Examples:"})
    EXPECT_TRUE(contains(help_text(), part)) << part;
}

}  // namespace
}  // namespace diffract::launch
