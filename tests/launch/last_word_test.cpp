// What is said when a job ends: the launcher's summary, after all that its processes say.
#include <gtest/gtest.h>

#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using test::contains;
using test::launch;
using test::shell;

TEST(Launch, HasTheLastWord) {
  // Whatever the others say when they are ended.
  const std::string script =
      "trap 'echo farewell >&2; exit 1' TERM; [ $RANK = 0 ] || { while [ ! -e up ]; do sleep 0.02; done; "
      "exit 3; }; "
      "touch up; while :; do sleep 0.02; done";
  const auto result = launch(shell({"--nproc-per-node=2"}, script));
  EXPECT_EQ(result.exit_code, 3);
  const size_t farewell = result.err.find("farewell\n"), summary = result.err.find("error: launch: rank 1 ");
  EXPECT_LT(farewell, summary) << result.err;
  EXPECT_NE(summary, std::string::npos) << result.err;
  const auto again = launch(shell({"--nproc-per-node=2", "--max-restarts=1"},
                                  "[ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 0; " + script));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_LT(again.err.find("farewell\n"), again.err.find("warning: launch: rank 1 ")) << again.err;
  EXPECT_TRUE(contains(again.err, "starting again (1 of 1 restarts)\n")) << again.err;
}

TEST(Launch, SaysSoonWhyItStopsWhenTheOthersTakeLong) {
  const auto result =
      launch(shell({"--nproc-per-node=2"},
                   "trap 'sleep 4; exit 0' TERM; [ $RANK = 0 ] || { while [ ! -e up ]; do sleep 0.02; "
                   "done; exit 3; }; touch up; while :; do sleep 0.02; done"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_TRUE(contains(result.err, "ended with exit code 3; waiting for the processes to end\n"))
      << result.err;
}

}  // namespace
}  // namespace diffract
