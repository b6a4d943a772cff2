#include "diffract/core/foreign_names.h"

#include <gtest/gtest.h>

namespace diffract {
namespace {

constexpr ForeignName kForeign[] = {{"cfg-scale", "it is called --guidance-scale here"}};
const std::vector<std::string> kKnown = {"--guidance-scale", "--steps"};

TEST(ForeignNames, AreExplainedHoweverTheyAreSpelled) {
  for (const char* name : {"--cfg-scale", "cfg_scale", "CFG scale"})
    EXPECT_EQ(hint_for(name, kForeign, kKnown), "; it is called --guidance-scale here") << name;
}

TEST(ForeignNames, WhatIsSpelledAlikeIsSuggested) {
  EXPECT_EQ(hint_for("--stpes", kForeign, kKnown), "; did you mean --steps?");
  EXPECT_EQ(hint_for("Guidance_Scal", kForeign, kKnown), "; did you mean --guidance-scale?");
  EXPECT_EQ(hint_for("-e", kForeign, {"--eta"}), "");
  EXPECT_EQ(hint_for("--unlike-all", kForeign, kKnown), "");
}

}  // namespace
}  // namespace diffract
