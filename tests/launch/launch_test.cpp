// One node: what workers see, exit codes, logs, restarts, signals.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/file_descriptor.h"
#include "diffract/core/json.h"
#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::launch;
using test::RunningLauncher;
using test::shell;

std::map<std::string, std::string> variables_of(const std::string& text) {
  std::map<std::string, std::string> found;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (const size_t equals = line.find('='); equals != std::string::npos)
      found[line.substr(0, equals)] = line.substr(equals + 1);
  return found;
}

std::string only_file(const fs::path& folder, const std::string& ending) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().string().ends_with(ending)) return entry.path().string();
  return "";
}

TEST(Launch, GivesWorkersTorchrunsEnvironment) {
  const test::TempFolder logs;
  const auto result =
      launch(shell({"--nproc-per-node=2", "--max-restarts=4", "--rdzv-id=job7", "--role=drawer", "-r1",
                    "--log-dir", logs.path().string(), "--master-port=0"},
                   "env"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  std::string port;
  for (const std::string rank : {"0", "1"}) {
    const auto v =
        variables_of(load_text(only_file(logs.path(), "attempt_0/" + rank + "/stdout.log"), 1 << 20));
    const std::map<std::string, std::string> expected = {
        {"RANK", rank},
        {"LOCAL_RANK", rank},
        {"ROLE_RANK", rank},
        {"WORLD_SIZE", "2"},
        {"LOCAL_WORLD_SIZE", "2"},
        {"ROLE_WORLD_SIZE", "2"},
        {"ROLE_NAME", "drawer"},
        {"GROUP_RANK", "0"},
        {"GROUP_WORLD_SIZE", "1"},
        {"MASTER_ADDR", "127.0.0.1"},
        {"TORCHELASTIC_RESTART_COUNT", "0"},
        {"TORCHELASTIC_MAX_RESTARTS", "4"},
        {"TORCHELASTIC_RUN_ID", "job7"},
        {"TORCHELASTIC_USE_AGENT_STORE", "False"},
        {"TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT"},
        {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"}};
    for (const auto& [name, value] : expected)
      EXPECT_EQ(v.contains(name) ? v.at(name) : "<unset>", value) << name;
    EXPECT_TRUE(v.at("TORCHELASTIC_ERROR_FILE").ends_with("attempt_0/" + rank + "/error.json"));
    EXPECT_GE(std::stoi(v.at("OMP_NUM_THREADS")), 1);
    EXPECT_GT(std::stoi(v.at("MASTER_PORT")), 1023);
    EXPECT_TRUE(port.empty() || port == v.at("MASTER_PORT"));
    port = v.at("MASTER_PORT");
  }
}

TEST(Launch, KeepsWhatTheUserSetAndHidesGpus) {
  const auto result =
      launch(shell({"--nproc-per-node=2", "--cpu"},
                   "echo $OMP_NUM_THREADS,$TORCH_NCCL_ASYNC_ERROR_HANDLING,[$CUDA_VISIBLE_DEVICES]"),
             {.environment = {{"OMP_NUM_THREADS", "5"}, {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "3"}}});
  EXPECT_EQ(result.out, "5,3,[]\n5,3,[]\n") << result.err;
  const auto gpus =
      launch(shell({"--gpu-ids=2,5", "--virtual-local-rank"}, "echo $LOCAL_RANK:$CUDA_VISIBLE_DEVICES"));
  EXPECT_EQ(test::count_of(gpus.out, "0:2\n") + test::count_of(gpus.out, "0:5\n"), 2u) << gpus.out;
}

TEST(Launch, BoundsTheSpinOfItsWorkersThreads) {
  const auto told = [](const std::map<std::string, std::string>& environment) {
    return launch(shell({"--nproc-per-node=1"}, "echo [$GOMP_SPINCOUNT]"), {.environment = environment}).out;
  };
  EXPECT_EQ(told({}), "[1000]\n");
  EXPECT_EQ(told({{"GOMP_SPINCOUNT", "7"}}), "[7]\n");
  EXPECT_EQ(told({{"OMP_WAIT_POLICY", "passive"}}), "[]\n");
}

TEST(Launch, HasNoVirtualLocalRanksWithoutGpus) {
  const auto result =
      launch(shell({"--nproc-per-node=2", "--cpu", "--virtual-local-rank"}, "echo $LOCAL_RANK"));
  EXPECT_TRUE(result.out == "0\n1\n" || result.out == "1\n0\n") << result.out;
}

TEST(Launch, NamesTheOptionOfAnAddressThatIsNotItsOwn) {
  // 192.0.2.0/24 is for documentation: no machine has it.
  const auto local = launch({"--nnodes=2", "--node-rank=1", "--local-addr=192.0.2.1", "true"});
  EXPECT_EQ(local.exit_code, 5);
  EXPECT_TRUE(contains(local.err, "--local-addr must be an address of this machine")) << local.err;
  const auto master = launch({"--master-addr=192.0.2.1", "true"});
  EXPECT_EQ(master.exit_code, 5);
  EXPECT_TRUE(contains(master.err, "--master-addr must be an address of the first machine")) << master.err;
}

TEST(Launch, RunsWhatItIsAskedTo) {
  EXPECT_EQ(launch({"generate", "--prompt", "a dog", "--num_processes=2"}).out,
            "generate(--prompt a dog)\ngenerate(--prompt a dog)\n");
  const test::TempFolder folder;
  const auto script =
      folder.file("run.py", "import os, sys; print(sys.argv[1:], os.environ['RANK'])").string();
  EXPECT_EQ(launch({script, "x_y", "--num_processes=1"}).out, "['x_y'] 0\n");
  EXPECT_EQ(launch({"-m", "this"}).exit_code, 0);
  EXPECT_EQ(launch({"echo", "${local_rank}", "--a_b=", "--"}).out, "0 --a_b= --\n");
}

TEST(Launch, SaysWhyAProgramDoesNotStart) {
  const test::TempFolder folder;
  const auto plain = folder.file("plain", "#!/bin/sh\n").string();
  const auto broken = folder.file("broken", "#!/no/such/shell\n").string();
  const auto text = folder.file("text", "hello\n").string();
  for (const auto& file : {broken, text}) fs::permissions(file, fs::perms::owner_all);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"no-such-program", "program no-such-program not found in PATH"},
      {"plain", "write ./plain"},
      {"./none", "program ./none not found"},
      {"none.py", "program none.py not found"},
      {folder.path().string(), "is a folder"},
      {plain, "is not executable. Run chmod +x"},
      {broken, "the program after its \"#!\" is missing?"},
      {text, "a script needs a first line"}};
  for (const auto& [program, expected] : cases) {
    const auto result = launch({"--nproc-per-node=2", program}, {.folder = folder.path().string()});
    EXPECT_EQ(result.exit_code, 2) << program;
    EXPECT_TRUE(contains(result.err, expected)) << result.err;
  }
}

TEST(Launch, DoesNotStartAgainWhatCannotBeStarted) {
  const test::TempFolder folder;
  const auto text = folder.file("text", "hello\n").string();
  fs::permissions(text, fs::perms::owner_all);
  const auto result = launch({"--max-restarts=100000", text});
  EXPECT_EQ(result.exit_code, 2) << result.err.substr(0, 1000);
  EXPECT_EQ(test::count_of(result.err, "was not started"), 1u) << result.err.substr(0, 1000);
}

TEST(Launch, EndsWithTheFirstFailingWorkersCode) {
  EXPECT_EQ(launch(shell({}, "exit 0")).exit_code, 0);
  EXPECT_EQ(launch(shell({}, "exit 41")).exit_code, 41);
  EXPECT_EQ(launch(shell({}, "kill -9 $$")).exit_code, 128 + SIGKILL);
  EXPECT_EQ(launch(shell({}, "kill -SEGV $$")).exit_code, 128 + SIGSEGV);
  const auto mixed = launch(shell({"--nproc-per-node=3"}, "[ $RANK = 1 ] && exit 9; exec sleep 100"));
  EXPECT_EQ(mixed.exit_code, 9);
  EXPECT_EQ(launch(shell({"--nproc-per-node=2"}, "exit 5")).exit_code, 5);
}

TEST(Launch, TellsTheCauseOnceAndWritesErrorJson) {
  const test::TempFolder folder;
  const std::string own = (folder / "own.json").string();
  const auto result = launch(shell({"--nproc-per-node=2", "--log-dir", folder.path().string()},
                                   "[ $RANK = 1 ] || exec sleep 100; i=0; while [ $i -lt 30 ]; do echo line "
                                   "$i >&2; i=$((i+1)); done; exit 3"),
                             {.environment = {{"TORCHELASTIC_ERROR_FILE", own}}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(test::count_of(result.err, "error: launch: rank 1 (local rank 1) on host "), 1u) << result.err;
  EXPECT_TRUE(contains(result.err, "ended with exit code 3"));
  EXPECT_TRUE(contains(result.err, "\n    | line 29\n"));
  EXPECT_FALSE(contains(result.err, "| line 9\n"));
  const Json error = load_json(only_file(folder.path(), "attempt_0/1/error.json"));
  const Json& message = error["message"];
  EXPECT_TRUE(contains(message["message"].get<std::string>(), "ended with exit code 3"));
  EXPECT_EQ(message["errorCode"], 3);
  EXPECT_TRUE(contains(message["extraInfo"]["py_callstack"].get<std::string>(), "line 29"));
  EXPECT_GT(std::stoll(message["extraInfo"]["timestamp"].get<std::string>()), 1'600'000'000);
  EXPECT_EQ(message["extraInfo"]["rank"], 1);
  EXPECT_EQ(load_json(own), error);
  // What the worker wrote itself stays.
  const auto recorded = launch(shell({}, R"(echo '{"message":"mine"}' > $TORCHELASTIC_ERROR_FILE; exit 1)"),
                               {.environment = {{"TORCHELASTIC_ERROR_FILE", own}}});
  EXPECT_EQ(recorded.exit_code, 1);
  EXPECT_EQ(load_json(own)["message"], "mine");
}

TEST(Launch, GivesItsAgentANameOfItsOwn) {
  RunningLauncher launcher(shell({}, "echo up; exec sleep 100"),
                           {.environment = {{"DIFFRACT_LOG", "debug"}}});
  ASSERT_TRUE(launcher.wait_for_out("up"));
  const pid_t agent = launcher.agent();
  ASSERT_GT(agent, 0);
  EXPECT_NE(agent, launcher.pid());
  std::string name;
  std::ifstream comm("/proc/" + std::to_string(agent) + "/comm");
  std::getline(comm, name);
  EXPECT_EQ(name, "diffract-agent");
  // The shell says "up" before it is "sleep", and the agent's line may come behind that.
  std::vector<pid_t> worker;
  const auto has_all = [&] {
    worker = launcher.processes_of("sleep 100");
    return worker.size() == 1 && contains(launcher.err(), "debug: launch: rank 0 (local rank 0) on host ") &&
           contains(launcher.err(), fmt::format(", pid {}\n", worker[0]));
  };
  EXPECT_TRUE(test::wait_until(has_all)) << worker.size() << " workers; " << launcher.err();
}

TEST(Launch, SurvivesWhateverAWorkerPrints) {
  const auto result = launch(shell(
      {"-t3"}, "head -c 300000 /dev/urandom >&2; head -c 300000 /dev/urandom; printf '\\303' >&2; exit 8"));
  EXPECT_EQ(result.exit_code, 8);
  EXPECT_GT(result.out.size(), 300000u);
}

TEST(Launch, SendsStreamsWhereTheyAreToGo) {
  const std::string both = "echo out $RANK; echo err $RANK >&2";
  const test::TempFolder logs;
  const auto run = [&](std::vector<std::string> options) {
    fs::remove_all(logs.path());
    options.insert(options.end(), {"--nproc-per-node=2", "--standalone", "--log-dir", logs.path().string()});
    return launch(shell(options, both));
  };
  const auto log = [&](const std::string& rank, const std::string& stream) {
    const std::string file = only_file(logs.path(), "attempt_0/" + rank + "/" + stream + ".log");
    return file.empty() ? "<none>" : load_text(file, 1000);
  };
  auto result = run({});
  EXPECT_EQ(result.out.size() + result.err.size(), 4 * 6u) << result.out << result.err;
  EXPECT_EQ(log("0", "stdout"), "<none>");
  result = run({"-r", "3"});
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_EQ(log("0", "stdout") + log("1", "stderr"), "out 0\nerr 1\n");
  result = run({"-r", "0:1,1:2"});
  EXPECT_EQ(result.out + result.err, "out 1\nerr 0\n");
  EXPECT_EQ(log("0", "stdout") + log("1", "stderr") + log("1", "stdout"), "out 0\nerr 1\n<none>");
  result = run({"-t", "3"});
  for (const std::string rank : {"0", "1"}) {
    EXPECT_TRUE(contains(result.out, "[default" + rank + "]:out " + rank + "\n")) << result.out;
    EXPECT_TRUE(contains(result.err, "[default" + rank + "]:err " + rank + "\n")) << result.err;
    EXPECT_EQ(log(rank, "stdout") + log(rank, "stderr"), "out " + rank + "\nerr " + rank + "\n");
  }
  result = run({"--local-ranks-filter=1"});
  EXPECT_EQ(result.out + result.err, "out 1\nerr 1\n");
  result = run({"--local-ranks-filter=1", "--tee=3"});
  EXPECT_EQ(result.out + result.err, "[default1]:out 1\n[default1]:err 1\n");
  EXPECT_EQ(log("0", "stdout"), "out 0\n");
}

TEST(Launch, StartsAgainAsOftenAsAllowed) {
  const auto third =
      launch(shell({"--max-restarts=2", "--nproc-per-node=2"},
                   "echo $TORCHELASTIC_RESTART_COUNT; "
                   "[ $RANK = 0 ] && exit 0; [ $TORCHELASTIC_RESTART_COUNT = 2 ] && exit 0; exit 7"));
  EXPECT_EQ(third.exit_code, 0) << third.err;
  EXPECT_EQ(test::count_of(third.out, "2\n"), 2u) << third.out;
  EXPECT_TRUE(contains(third.err, "starting again (2 of 2 restarts)"));
  const auto never = launch(shell({"--max-restarts=2"}, "exit $((TORCHELASTIC_RESTART_COUNT + 11))"));
  EXPECT_EQ(never.exit_code, 13);
}

TEST(Launch, DoesNotRepeatWhatGenerateCannotDo) {
  const std::vector<std::string> job = {"--nproc-per-node=2", "--max-restarts=3", "generate"};
  for (const int code : {2, 3, 6}) {
    const auto result = launch(job, {.environment = {{"GENERATE_EXIT_1", std::to_string(code)}}});
    EXPECT_EQ(result.exit_code, code);
    EXPECT_FALSE(contains(result.err, "starting again")) << result.err;
  }
  EXPECT_EQ(test::count_of(launch(job, {.environment = {{"GENERATE_EXIT_1", "70"}}}).err, "starting again"),
            3u);
  // "Some images failed" is the end of that rank's share, not of the others'.
  const auto some = launch(job, {.environment = {{"GENERATE_EXIT_0", "7"}}});
  EXPECT_EQ(some.exit_code, 7);
  EXPECT_EQ(test::count_of(some.out, "generate()"), 2u);
}

TEST(Launch, TakesAnotherPortWhenItsOwnIsBusy) {
  const FileDescriptor busy(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(busy.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(busy.get(), 1), 0);
  ::getsockname(busy.get(), reinterpret_cast<sockaddr*>(&address), &length);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const auto result = launch(shell({"--master-port", port}, "echo $MASTER_PORT"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.out, port + "\n");
  EXPECT_TRUE(contains(result.err, fmt::format("port {} of 127.0.0.1 is in use; MASTER_PORT is {}", port,
                                               result.out.substr(0, result.out.size() - 1))))
      << result.err;
  // The store of one machine is on the loopback address, by whatever name rank 0 is to be found.
  const auto named =
      launch(shell({"--master-addr", "127.0.0.2", "--master-port", port}, "echo $MASTER_PORT"));
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_NE(named.out, port + "\n");
  // A worker can listen on the port that was kept for it, and two launchers do not keep the same one.
  const std::string listens =
      "python3 -c 'import os, socket; s = socket.create_server((\"127.0.0.1\", "
      "int(os.environ[\"MASTER_PORT\"])))'";
  RunningLauncher first(shell({"--master-port=0"}, listens + "; echo $MASTER_PORT; exec sleep 100"));
  ASSERT_TRUE(first.wait_for_out("\n"));
  const std::string kept = first.out().substr(0, first.out().size() - 1);
  const auto second = launch(shell({"--master-port", kept}, "echo $MASTER_PORT"));
  EXPECT_NE(second.out, first.out());
}

TEST(Launch, PassesSignalsOnAndWaitsForTheEnd) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    RunningLauncher launcher(
        shell({"--nproc-per-node=2"},
              "trap 'sleep 0.2; echo bye; exit 0' INT TERM HUP; echo up; while :; do sleep 0.05; done"));
    ASSERT_TRUE(test::wait_until([&] { return test::count_of(launcher.out(), "up\n") == 2; }));
    launcher.signal(signal);
    EXPECT_EQ(launcher.wait(), 128 + signal);
    EXPECT_EQ(test::count_of(launcher.out(), "bye\n"), 2u);
    EXPECT_TRUE(contains(launcher.err(), "stopped by SIG")) << launcher.err();
    EXPECT_TRUE(launcher.all_gone(test::Milliseconds(0)));
  }
  // Once each: the second of a kind ends a program at once that stops in order at the first.
  RunningLauncher once(shell({},
                             "trap 'echo got; touch got' TERM; echo up; while [ ! -e got ]; do sleep 0.02; "
                             "done; for i in 1 2 3 4 5; do sleep 0.05; done; exit 0"));
  ASSERT_TRUE(once.wait_for_out("up\n"));
  once.signal(SIGTERM);
  EXPECT_EQ(once.wait(), 128 + SIGTERM);
  EXPECT_EQ(test::count_of(once.out(), "got\n"), 1u);
  RunningLauncher launcher(shell({}, "trap 'echo usr; exit 0' USR1; echo up; while :; do sleep 0.05; done"));
  ASSERT_TRUE(launcher.wait_for_out("up\n"));
  launcher.signal(SIGUSR1);
  EXPECT_EQ(launcher.wait(), 0);
  EXPECT_TRUE(contains(launcher.out(), "usr\n"));
}

TEST(Launch, HeedsNohupAndClosedStreams) {
  RunningLauncher launcher({"--", "/bin/sh", "-c", "echo up; while [ ! -e stop ]; do sleep 0.05; done"},
                           {.wrapper = {"/usr/bin/nohup"}});
  ASSERT_TRUE(launcher.wait_for_out("up\n"));
  launcher.signal(SIGHUP);
  launcher.folder().file("stop", "");
  EXPECT_EQ(launcher.wait(), 0) << launcher.err();
  const auto closed = launch({"--", "/bin/sh", "-c", "read x; echo read $?"},
                             {.wrapper = {"/bin/sh", "-c", "exec \"$0\" \"$@\" 0<&- 2>&-"}});
  EXPECT_EQ(closed.exit_code, 0);
  EXPECT_EQ(closed.out, "read 1\n");
}

TEST(Launch, EndsTheDeafAfterTheGracePeriodOrASecondSignal) {
  const std::string deaf = "trap '' INT TERM; echo up; while :; do sleep 0.05; done";
  RunningLauncher patient(shell({"--grace-period=0.5"}, deaf));
  ASSERT_TRUE(patient.wait_for_out("up\n"));
  const auto begin = std::chrono::steady_clock::now();
  patient.signal(SIGTERM);
  EXPECT_EQ(patient.wait(), 128 + SIGTERM);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, test::Milliseconds(450));
  RunningLauncher hasty(shell({"--grace-period=1000"}, deaf));
  ASSERT_TRUE(hasty.wait_for_out("up\n"));
  hasty.signal(SIGINT);
  ASSERT_TRUE(hasty.wait_for_err("a second signal ends them at once"));
  hasty.signal(SIGINT);
  EXPECT_EQ(hasty.wait(), 128 + SIGINT);
  EXPECT_TRUE(hasty.all_gone(test::Milliseconds(0)));
}

TEST(Launch, KeepsAndNamesTheLogFilesThatWereAskedFor) {
  for (const std::string option : {"-r3", "-t1"}) {
    RunningLauncher launcher(shell({option}, "echo out"));
    EXPECT_EQ(launcher.wait(), 0);
    const std::string file = only_file(launcher.folder().path(), "stdout.log");
    ASSERT_FALSE(file.empty()) << launcher.err();
    EXPECT_EQ(load_text(file, 100), "out\n");
    const std::string run = fs::path(file).parent_path().parent_path().parent_path().string();
    EXPECT_TRUE(contains(launcher.err(), "log files are in " + run)) << launcher.err();
  }
}

TEST(Launch, LeavesNoTemporaryFolderAfterSuccess) {
  RunningLauncher good(shell({"--nproc-per-node=2"}, "exit 0"));
  EXPECT_EQ(good.wait(), 0);
  EXPECT_EQ(only_file(good.folder().path(), "error.json"), "");
  for (const auto& entry : fs::directory_iterator(good.folder().path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("torchelastic")) << entry.path();
  RunningLauncher bad(shell({}, "exit 1"));
  EXPECT_EQ(bad.wait(), 1);
  const std::string file = only_file(bad.folder().path(), "error.json");
  EXPECT_TRUE(!file.empty() && contains(bad.err(), file)) << bad.err();
}

}  // namespace
}  // namespace diffract
