// `diffract split`: a list in, the shares of all processes out. The shares themselves:
// tests/distributed/split_test.cpp.
#include <gtest/gtest.h>

#include "diffract/core/json.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

class SplitCommand : public ::testing::Test {
 protected:
  test::ProgramResult split(const std::vector<std::string>& options, const std::string& json) const {
    folder_.file("in.json", json);
    std::vector<std::string> arguments = {"split"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.emplace_back("in.json");
    return test::run_diffract(arguments, folder_.path().string());
  }
  test::TempFolder folder_;
};

TEST_F(SplitCommand, PrintsEachShare) {
  const auto list = split({"--num-processes", "3"}, R"(["a", "b", "c", "d"])");
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_EQ(list.out, "[[\"a\",\"b\"],[\"c\"],[\"d\"]]\n");
  const auto object =
      split({"--num_processes=2", "--apply_padding"}, R"({"z": [1, 2, 3], "a": ["x", "y", "w"]})");
  EXPECT_EQ(object.exit_code, 0) << object.err;
  EXPECT_EQ(object.out, "[{\"z\":[1,2],\"a\":[\"x\",\"y\"]},{\"z\":[3,3],\"a\":[\"w\",\"w\"]}]\n");
}

TEST_F(SplitCommand, RefusesWhatCannotBeSplit) {
  struct Case {
    std::vector<std::string> options;
    std::string json;
    int exit_code;
    std::string message;
  };
  for (const Case& one :
       std::vector<Case>{{{"--num-processes", "0"}, "[1]", 2, "expected 1 to 65536"},
                         {{"--num-processes", "x"}, "[1]", 2, "--num-processes"},
                         {{}, "[1]", 2, "--num-processes"},
                         {{"--num-processes", "2"}, "5", 2, "in.json: is 5; expected a list"},
                         {{"--num-processes", "2"}, "{}", 2, "empty"},
                         {{"--num-processes", "2"}, R"({"a": [1], "b": []})", 2, "same length"},
                         {{"--num-processes", "2", "--apply-padding"}, "[]", 2, "no last item"},
                         {{"--num-processes", "2"}, "[1,", 2, "in.json"}}) {
    const auto result = split(one.options, one.json);
    EXPECT_EQ(result.exit_code, one.exit_code) << one.json << result.err;
    EXPECT_NE(result.err.find(one.message), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(SplitCommand, RefusesAFileThatIsNotThere) {
  const auto result =
      test::run_diffract({"split", "--num-processes", "2", "/no/such/file.json"}, folder_.path().string());
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("/no/such/file.json: no such file"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace diffract
