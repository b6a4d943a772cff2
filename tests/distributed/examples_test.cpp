// The guide's programs, started in every way that they may be started: the same two pictures each time.
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/file.h"
#include "tests/distributed/ranks.h"
#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::ProcessEnd;
using test::RunningProcess;

const std::vector<std::string> kArguments = {"emoji-sd", "2"};
// With one thread each, pictures do not depend on how many processes share the machine.
const std::map<std::string, std::string> kOneThread = {{"OMP_NUM_THREADS", "1"}};

bool is_installed(const std::string& program) {
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  path += ":";
  for (size_t begin = 0, end; (end = path.find(':', begin)) != std::string::npos; begin = end + 1)
    if (fs::exists(path.substr(begin, end - begin) + "/" + program)) return true;
  return false;
}

class Examples : public ::testing::Test {
 protected:
  // `behind`: options that stand behind the program.
  void run(std::vector<std::string> command, const std::string& program,
           const std::vector<std::string>& behind = {}) {
    command.push_back(program);
    command.insert(command.end(), behind.begin(), behind.end());
    command.insert(command.end(), kArguments.begin(), kArguments.end());
    const ProcessEnd end = RunningProcess(command, kOneThread, folder_.path().string()).wait(120s);
    ASSERT_EQ(end.exit_code, 0) << end.err << end.out;
  }
  // Ranks that were started by hand, with the environment set.
  void run_by_hand(int size, const std::string& program) {
    const uint16_t port = test::free_port();
    std::vector<RunningProcess> ranks;
    for (int rank = 0; rank < size; ++rank) {
      auto variables = test::environment(rank, size, port);
      variables.insert(kOneThread.begin(), kOneThread.end());
      ranks.emplace_back(std::vector<std::string>{program, kArguments[0], kArguments[1]}, variables,
                         folder_.path().string());
    }
    for (auto& rank : ranks) {
      const ProcessEnd end = rank.wait(120s);
      EXPECT_EQ(end.exit_code, 0) << end.err;
    }
  }
  std::string picture(const std::string& name) const { return load_text(folder_ / name, 1 << 24); }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }
  void expect_dog_and_cat(const std::string& dog, const std::string& cat) const {
    EXPECT_EQ(files(), 2u);
    static const auto* const reference = [] {
      const test::TempFolder alone;
      RunningProcess({DIFFRACT_RUN_DISTRIBUTED, kArguments[0], kArguments[1]}, kOneThread,
                     alone.path().string())
          .wait(120s);
      return new std::pair(load_text(alone / "result_0.png", 1 << 24),
                           load_text(alone / "result_0_1.png", 1 << 24));
    }();
    EXPECT_TRUE(picture(dog) == reference->first) << dog << " is another picture than by one process";
    EXPECT_TRUE(picture(cat) == reference->second) << cat << " is another picture than by one process";
  }

  test::TempFolder folder_;
};

TEST_F(Examples, SplitPromptsByHand) {
  run_by_hand(2, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, SplitTwoPromptsBetweenThree) {
  run_by_hand(3, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, SplitPromptsUnderDiffractLaunch) {
  run({DIFFRACT_PROGRAM, "launch", "--nproc-per-node", "2"}, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

// The guide's own lines: accelerate launch run_distributed.py --num_processes=2, and torchrun's.
TEST_F(Examples, OptionsBehindTheProgramAreTheLaunchers) {
  run({DIFFRACT_PROGRAM, "launch"}, DIFFRACT_RUN_DISTRIBUTED, {"--num_processes=2"});
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, TorchrunsOptionsBehindTheProgramAreTheLaunchers) {
  run({DIFFRACT_PROGRAM, "launch"}, DIFFRACT_RUN_DISTRIBUTED_TORCH, {"--nproc_per_node=2"});
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

TEST_F(Examples, SplitPromptsUnderMpirun) {
  run({"mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"}, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, SplitPromptsUnderTorchrun) {
  if (!is_installed("torchrun")) GTEST_SKIP() << "torchrun is not installed: run_distributed under it";
  run({"torchrun", "--no-python", "--nproc-per-node=2"}, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, SpawnAProcessGroup) {
  run({}, DIFFRACT_RUN_DISTRIBUTED_TORCH);
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

TEST_F(Examples, MakeAProcessGroupByHand) {
  run_by_hand(3, DIFFRACT_RUN_DISTRIBUTED_TORCH);
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

TEST_F(Examples, MakeAProcessGroupUnderDiffractLaunch) {
  run({DIFFRACT_PROGRAM, "launch", "--nproc-per-node=2"}, DIFFRACT_RUN_DISTRIBUTED_TORCH);
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

TEST_F(Examples, MakeAProcessGroupUnderMpirun) {
  run({"mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"}, DIFFRACT_RUN_DISTRIBUTED_TORCH);
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

TEST_F(Examples, MakeAProcessGroupUnderTorchrun) {
  if (!is_installed("torchrun")) GTEST_SKIP() << "torchrun is not installed: run_distributed_torch under it";
  run({"torchrun", "--no-python", "--nproc-per-node=2"}, DIFFRACT_RUN_DISTRIBUTED_TORCH);
  expect_dog_and_cat("a_dog.png", "a_cat.png");
}

}  // namespace
}  // namespace diffract::distributed
