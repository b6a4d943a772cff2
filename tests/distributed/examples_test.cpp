// The guide's programs, started in every way that they may be started: the same two pictures each time. Where
// two processes of one thread draw one each, byte for byte; where one draws both in a batch, within 1 of 255
// (docs/jobs.md, "The same picture again").
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/io/png.h"
#include "diffract/tensor/dtype.h"
#include "tests/distributed/ranks.h"
#include "tests/support/images.h"
#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::ProcessEnd;
using test::RunningProcess;

const std::vector<std::string> kArguments = {"emoji-sd", "2"};
// Bytes are promised for equal numbers of threads only.
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
  static void run_by_hand(int size, const std::string& program, const test::TempFolder& folder) {
    std::vector<RunningProcess> ranks = test::start_ranks(
        {program, kArguments[0], kArguments[1]}, size, test::free_port(), folder.path().string(), kOneThread);
    for (auto& rank : ranks) {
      const ProcessEnd end = rank.wait(120s);
      EXPECT_EQ(end.exit_code, 0) << end.err;
    }
  }
  void run_by_hand(int size, const std::string& program) const { run_by_hand(size, program, folder_); }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }
  io::Image picture(const std::string& name) const { return io::load_png(folder_ / name).image; }

  // The dog and the cat of two processes that draw one each.
  static const std::pair<io::Image, io::Image>& drawn_one_by_one() {
    static const auto* const drawn = [] {
      const test::TempFolder folder;
      run_by_hand(2, DIFFRACT_RUN_DISTRIBUTED, folder);
      return new std::pair(io::load_png(folder / "result_0.png").image,
                           io::load_png(folder / "result_1.png").image);
    }();
    return *drawn;
  }
  void expect_dog_and_cat(const std::string& dog, const std::string& cat) const {
    EXPECT_EQ(files(), 2u);
    EXPECT_TRUE(picture(dog).pixels == drawn_one_by_one().first.pixels) << dog << " is another picture";
    EXPECT_TRUE(picture(cat).pixels == drawn_one_by_one().second.pixels) << cat << " is another picture";
  }

  test::TempFolder folder_;
};

TEST_F(Examples, SplitPromptsByHand) {
  run_by_hand(2, DIFFRACT_RUN_DISTRIBUTED);
  expect_dog_and_cat("result_0.png", "result_1.png");
}

TEST_F(Examples, DrawBothInABatchAlone) {
  run({}, DIFFRACT_RUN_DISTRIBUTED);
  EXPECT_EQ(files(), 2u);
  // The programs ask for float16, which a processor that is fast in it computes in; its roundings are larger.
  const int most = tensor::computes_fast(at::kHalf, at::kCPU) ? 3 : 1;
  EXPECT_LE(test::largest_pixel_difference(picture("result_0.png"), drawn_one_by_one().first), most);
  EXPECT_LE(test::largest_pixel_difference(picture("result_0_1.png"), drawn_one_by_one().second), most);
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
