#include "diffract/placement/keep.h"

#include <gtest/gtest.h>

namespace diffract::placement {
namespace {

constexpr int64_t kGB = 1'000'000'000;
using Chosen = std::vector<size_t>;

TEST(ChooseToFree, TakesNothingWhereThereIsRoom) {
  EXPECT_EQ(choose_to_free({{{0, 5}}, {{0, 7}}}, {{0, 10}}, {{0, 10}}), Chosen{});
}

TEST(ChooseToFree, TakesTheLeastNeededFirst) {
  EXPECT_EQ(choose_to_free({{{0, 5}}, {{0, 7}}}, {{0, 10}}, {{0, 6}}), Chosen{0});
  EXPECT_EQ(choose_to_free({{{0, 5}}, {{0, 7}}}, {{0, 10}}, {{0, 1}}), (Chosen{0, 1}));
}

TEST(ChooseToFree, LeavesWhatALargerOneMakesNeedless) {
  EXPECT_EQ(choose_to_free({{{0, 2}}, {{0, 20}}}, {{0, 10}}, {{0, 1}}), Chosen{1});
}

TEST(ChooseToFree, LooksAtEachPlace) {
  const std::vector<PlaceBytes> held = {{{0, 9}}, {{1, 4}}, {{0, 3}, {Place::cpu(), 8}}};
  EXPECT_EQ(choose_to_free(held, {{1, 4}}, {{0, 100}}), Chosen{1});
  EXPECT_EQ(choose_to_free(held, {{Place::cpu(), 5}}, {}), Chosen{2});
  EXPECT_EQ(choose_to_free(held, {{0, 10}, {Place::cpu(), 5}}, {{0, 8}}), Chosen{2});
}

TEST(ChooseToFree, TakesAllThatHelpsWhereItNeverFits) {
  EXPECT_EQ(choose_to_free({{{0, 5}}, {{1, 7}}}, {{0, 100}}, {{0, 1}, {1, 1}}), Chosen{0});
}

PlannedComponent component(const std::string& name, int64_t bytes, int64_t working, int stage,
                           int importance) {
  PlannedComponent made{.name = name, .working_bytes = working, .stage = stage, .importance = importance};
  made.tree.root.children.push_back({.name = "layer",
                                     .class_name = "Linear",
                                     .tensors = {{.name = "weight", .elements = bytes / 4, .bytes = bytes}}});
  return made;
}

// As large as FLUX.1-dev in bfloat16.
std::vector<PlannedComponent> flux() {
  return {component("text_encoder", kGB / 4, kGB / 100, 0, 0),
          component("text_encoder_2", 10 * kGB, kGB, 0, 0), component("transformer", 24 * kGB, kGB, 1, 2),
          component("vae", kGB / 6, 3 * kGB, 2, 1)};
}

std::vector<bool> stays_in(int64_t bytes) {
  MaxMemory memory;
  memory.set(0, bytes);
  return stay_between_requests(flux(), {{"", 0}}, memory);
}

TEST(StayBetweenRequests, AllStayWhereAllFits) {
  EXPECT_EQ(stays_in(141 * kGB), std::vector<bool>(4, true));
  EXPECT_EQ(stays_in(38 * kGB), std::vector<bool>(4, true));
}

TEST(StayBetweenRequests, TheSmallOnesStayWhereTheLargeOnesTakeTurns) {
  EXPECT_EQ(stays_in(32 * kGB), (std::vector<bool>{true, false, false, true}));
}

TEST(StayBetweenRequests, NothingStaysWhereAStageTakesAll) {
  EXPECT_EQ(stays_in(25 * kGB), std::vector<bool>(4, false));
}

}  // namespace
}  // namespace diffract::placement
