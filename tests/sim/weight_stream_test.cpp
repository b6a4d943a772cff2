// Parts brought from memory and disk to the CPU and to devices.
#include "diffract/weights/weight_stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"
#include "tests/sim/sim_support.h"
#include "tests/support/temp_folder.h"

namespace diffract::weights {
namespace {

constexpr size_t kParts = 6;
constexpr int64_t kElements = 300'000;  // of each matrix; with the vectors, no part begins at a page

class WeightStreamTest : public ::testing::TestWithParam<std::pair<std::string, Source>> {
 protected:
  WeightStreamTest() {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    at::manual_seed(7);
    for (size_t i = 0; i < kParts; ++i) {
      tensors.emplace_back(fmt::format("{}.weight", i), at::randn({kElements}));
      tensors.emplace_back(fmt::format("{}.bias", i), at::randn({static_cast<int64_t>(i) + 1}));
    }
    // Larger than one read, and in another dtype than it is used in.
    tensors.emplace_back("0.wide", at::randn({3 << 20}).to(at::kBFloat16));
    save_tensors(folder_ / "model.safetensors", tensors);
    checkpoint_ = Checkpoint::open({.files = {folder_ / "model.safetensors"}, .description = "model"});
  }

  at::Device device() const {
    return GetParam().first == "cpu" ? at::Device(at::kCPU) : tensor::parse_device(GetParam().first);
  }
  std::unique_ptr<WeightStream> make(std::optional<uint64_t> budget = {}, bool keeps_parts = false,
                                     const std::set<size_t>& rare = {}) const {
    auto stream = std::make_unique<WeightStream>(
        WeightStream::Options{.device = device(), .budget = budget, .keeps_parts = keeps_parts});
    for (size_t i = 0; i < kParts; ++i) {
      Part part{
          .name = std::to_string(i), .source = GetParam().second, .is_once_for_many_steps = rare.contains(i)};
      const auto add = [&](const std::string& name, at::IntArrayRef shape) {
        const std::string full_name = fmt::format("{}.{}", i, name);
        part.add({.module_name = full_name,
                  .name = full_name,
                  .stored = checkpoint_->stored(full_name, shape),
                  .storage = {},
                  .dtype = at::kFloat});
      };
      add("weight", {kElements});
      add("bias", {static_cast<int64_t>(i) + 1});
      if (i == 0) add("wide", {3 << 20});
      stream->add(std::move(part));
    }
    return stream;
  }
  void expect_right(WeightStream& stream, size_t part) const {
    const auto lease = stream.enter(part);
    EXPECT_EQ(lease.tensors().size(), part == 0 ? 3u : 2u);
    for (const auto& [name, tensor] : lease.tensors()) {
      EXPECT_EQ(tensor.device(), device());
      EXPECT_TRUE(at::equal(tensor.to(at::kCPU), checkpoint_->tensor(name, tensor.sizes()).to(at::kFloat)))
          << name;
    }
  }

  test::TempFolder folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST_P(WeightStreamTest, GivesEveryPartInAnyOrder) {
  const auto stream = make();
  for (const size_t part : {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 3, 1, 1, 4, 0, 5, 2})
    expect_right(*stream, part);
}

TEST_P(WeightStreamTest, WorksWithRoomForOnePart) {
  const auto stream = make(/*budget=*/1);
  for (const size_t part : {0, 1, 2, 3, 4, 5, 0, 1, 5}) expect_right(*stream, part);
}

// Parts lie in the ring in two stretches, wait for room in the middle, and are guessed wrongly meanwhile.
TEST_P(WeightStreamTest, GivesEveryPartWhateverRoomThereIs) {
  std::mt19937 random(11);
  for (const uint64_t kilobytes : {13700, 14300, 14900, 15700, 17100, 19000}) {
    const auto stream = make(kilobytes << 10);
    for (int round = 0; round < 2; ++round)
      for (size_t part = 0; part < kParts; ++part) expect_right(*stream, part);
    for (int i = 0; i < 20; ++i) expect_right(*stream, random() % kParts);
  }
}

TEST_P(WeightStreamTest, ServesSeveralThreads) {
  const auto stream = make(/*budget=*/1);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 12; ++i) expect_right(*stream, (t * 2 + i) % kParts);
    });
  for (auto& thread : threads) thread.join();
}

// Only a reading that goes on by itself lets this end.
TEST_P(WeightStreamTest, ReadsTheNextPartWhileOneIsUsed) {
  const auto stream = make();
  const auto lease = stream->enter(2);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (stream->statistics().bytes_read < stream->part(2).bytes + stream->part(3).bytes &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_GE(stream->statistics().bytes_read, stream->part(2).bytes + stream->part(3).bytes);
}

// With room for all of them, each part is read once, whether it stays or comes and goes.
TEST_P(WeightStreamTest, KeepsWhatWasReadAheadWhenAPartThatStaysIsEntered) {
  const auto stream = make(/*budget=*/26 << 20, /*keeps_parts=*/true);
  uint64_t total = 0;
  for (size_t i = 0; i < kParts; ++i) total += stream->part(i).bytes;
  std::vector<WeightStream::Lease> leases;
  leases.push_back(stream->enter(0));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (stream->statistics().bytes_read < total && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  for (size_t i = 1; i < kParts; ++i) leases.push_back(stream->enter(i));
  EXPECT_EQ(stream->statistics().bytes_read, total);
}

TEST_P(WeightStreamTest, GivesItsMemoryBackAndTakesItAgain) {
  const int64_t blocks = sim::backend().live_blocks();
  const auto stream = make();
  expect_right(*stream, 0);
  release_streams();
  EXPECT_EQ(sim::backend().live_blocks(), blocks);
  expect_right(*stream, 1);
}

INSTANTIATE_TEST_SUITE_P(All, WeightStreamTest,
                         ::testing::Values(std::pair{"cpu", Source::disk}, std::pair{"sim:0", Source::disk},
                                           std::pair{"sim:1", Source::host}),
                         [](const auto& test) {
                           return test.param.first.substr(0, 3) +
                                  (test.param.second == Source::disk ? "_disk" : "_host");
                         });

using OnTheCpu = WeightStreamTest;
INSTANTIATE_TEST_SUITE_P(All, OnTheCpu, ::testing::Values(std::pair{"cpu", Source::disk}));

TEST_P(OnTheCpu, KeepsWhatTheBudgetHolds) {
  uint64_t total = 0;
  for (const char* name : {"weight", "bias"})
    total += checkpoint_
                 ->stored(fmt::format("1.{}", name),
                          name[0] == 'w' ? at::IntArrayRef{kElements} : at::IntArrayRef{2})
                 .view.nbytes();
  const auto stream = make(/*budget=*/uint64_t{1} << 30, /*keeps_parts=*/true);
  for (int round = 0; round < 3; ++round)
    for (size_t part = 0; part < kParts; ++part) expect_right(*stream, part);
  uint64_t once = 0;
  for (size_t i = 0; i < stream->size(); ++i) once += stream->part(i).bytes;
  EXPECT_EQ(stream->statistics().bytes_read, once);
  EXPECT_GT(once, kParts * total / 2);
}

TEST_P(OnTheCpu, KeepsWhatIsUsedOftenFirst) {
  const std::set<size_t> rare{1, 4};
  uint64_t all_pages = 0, often_pages = 0, rare_bytes = 0, bytes = 0;
  for (const auto whole = make(); const size_t i : {0, 1, 2, 3, 4, 5}) {
    const uint64_t once = whole->part(i).bytes;
    bytes += once;
    all_pages += rounded_up(once, kPage);
    (rare.contains(i) ? rare_bytes : often_pages) += rare.contains(i) ? once : rounded_up(once, kPage);
  }
  // Beside the ring, which here has room for all, there is room for what is used often and no more.
  const auto stream = make(all_pages + often_pages, /*keeps_parts=*/true, rare);
  for (const size_t part : rare) expect_right(*stream, part);
  for (int round = 0; round < 20; ++round)
    for (const size_t part : {0, 2, 3, 5}) expect_right(*stream, part);
  EXPECT_LE(stream->statistics().bytes_read, bytes + rare_bytes);  // again where the stream guessed wrongly
  for (const size_t part : rare) expect_right(*stream, part);
}

TEST_P(OnTheCpu, SaysWhenAFileHasBecomeShorter) {
  const auto stream = make(/*budget=*/1);
  expect_right(*stream, 0);
  std::filesystem::resize_file(folder_ / "model.safetensors", 4096);
  const auto message = test::error_of<IoError>([&] {
    for (size_t i = 1; i < 3 * kParts; ++i) stream->enter(i % kParts);
  });
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::weights
