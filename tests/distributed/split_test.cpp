// split_between_processes beside accelerate's answers, and against its formula.
#include "diffract/distributed/split.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

using Numbers = std::vector<int64_t>;

Numbers range(size_t length) {
  Numbers numbers(length);
  for (size_t i = 0; i < length; ++i) numbers[i] = static_cast<int64_t>(i);
  return numbers;
}

std::vector<Numbers> shares(size_t length, int size, bool apply_padding) {
  std::vector<Numbers> all;
  for (int rank = 0; rank < size; ++rank)
    all.push_back(split(range(length), {.rank = rank, .world_size = size}, apply_padding));
  return all;
}

Numbers numbers(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

TEST(Split, EqualsAccelerateOnAllCases) {
  const Json cases = load_json(test::data("placement/split.json"));
  ASSERT_EQ(cases.size(), 126u);
  for (const Json& one : cases) {
    const int size = one["num_processes"].get<int>();
    for (int rank = 0; rank < size; ++rank)
      EXPECT_EQ(split(one["inputs"], {.rank = rank, .world_size = size}, one["apply_padding"].get<bool>()),
                one["shares"][static_cast<size_t>(rank)])
          << one.dump() << " rank " << rank;
  }
}

TEST(Split, EqualsTheFormulaOnTenThousandRandomCases) {
  std::mt19937 random(13);
  for (int i = 0; i < 10000; ++i) {
    const auto length = random() % 300;
    const int size = static_cast<int>(1 + random() % 40);
    const bool padding = length > 0 && random() % 2 == 0;
    const auto all = shares(length, size, padding);
    const size_t q = length / static_cast<size_t>(size), r = length % static_cast<size_t>(size);
    Numbers in_order;
    for (size_t p = 0; p < all.size(); ++p) {
      const size_t own = q + (p < r ? 1 : 0), longest = q + (r > 0 ? 1 : 0);
      ASSERT_EQ(all[p].size(), padding ? longest : own) << length << " over " << size << ", rank " << p;
      in_order.insert(in_order.end(), all[p].begin(), all[p].begin() + static_cast<std::ptrdiff_t>(own));
      for (size_t j = own; j < all[p].size(); ++j) ASSERT_EQ(all[p][j], static_cast<int64_t>(length) - 1);
    }
    ASSERT_EQ(in_order, range(length)) << "every item exactly once, in order";
    // A tensor and JSON are cut at the same places.
    const WorldRank place{.rank = static_cast<int>(random() % all.size()), .world_size = size};
    const Numbers& expected = all[static_cast<size_t>(place.rank)];
    ASSERT_EQ(numbers(split(at::arange(static_cast<int64_t>(length)), place, padding)), expected);
    ASSERT_EQ(split(Json(range(length)), place, padding), Json(expected));
  }
}

TEST(Split, GivesTheGoldenShares) {
  EXPECT_EQ(shares(2, 4, false), std::vector<Numbers>({{0}, {1}, {}, {}}));
  EXPECT_EQ(shares(2, 4, true), std::vector<Numbers>({{0}, {1}, {1}, {1}}));
  EXPECT_EQ(shares(7, 3, true), std::vector<Numbers>({{0, 1, 2}, {3, 4, 6}, {5, 6, 6}}));
  EXPECT_EQ(shares(17, 8, false)[0], Numbers({0, 1, 2}));
  EXPECT_EQ(shares(17, 8, false)[7], Numbers({15, 16}));
}

TEST(Split, PadsTensorsWithTheirLastRow) {
  const at::Tensor rows = at::arange(10).view({5, 2});
  const at::Tensor last = split(rows, {.rank = 2, .world_size = 3}, true);
  EXPECT_EQ(last.sizes(), at::IntArrayRef({2, 2}));
  EXPECT_EQ(numbers(last), Numbers({8, 9, 8, 9}));
  EXPECT_EQ(split(rows, {.rank = 7, .world_size = 8}, false).sizes(), at::IntArrayRef({0, 2}));
}

TEST(Split, CutsObjectsOfListsTogether) {
  const std::map<std::string, std::vector<std::string>> inputs = {{"prompt", {"a", "b", "c"}},
                                                                  {"negative", {"x", "y", "z"}}};
  const auto last = split(inputs, {.rank = 1, .world_size = 2}, true);
  EXPECT_EQ(last.at("prompt"), std::vector<std::string>({"c", "c"}));
  EXPECT_EQ(last.at("negative"), std::vector<std::string>({"z", "z"}));
  const std::map<std::string, at::Tensor> tensors = {{"latents", at::arange(4)}};
  EXPECT_EQ(numbers(split(tensors, {.rank = 1, .world_size = 3}, true).at("latents")), Numbers({2, 3}));
  EXPECT_EQ(numbers(split(tensors, {.rank = 2, .world_size = 3}, true).at("latents")), Numbers({3, 3}));
}

TEST(Split, TreatsJsonAsPythonDoes) {
  const WorldRank second{.rank = 1, .world_size = 2};
  // A text takes part in the check by its length and goes to all.
  EXPECT_EQ(split(Json::parse(R"({"a": [1, 2, 3], "b": "äöü"})"), second),
            Json::parse(R"({"a": [3], "b": "äöü"})"));
  EXPECT_EQ(split(Json("text"), second), Json("text"));
  // A nested object counts by its keys and is cut at the outer one's places.
  EXPECT_EQ(split(Json::parse(R"({"a": [1, 2], "b": {"x": [5, 6, 7, 8], "y": 1}})"), second),
            Json::parse(R"({"a": [2], "b": {"x": [6], "y": 1}})"));
  // One process gets all, without checks.
  const Json uneven = Json::parse(R"({"a": [1], "b": []})");
  EXPECT_EQ(split(uneven, {.rank = 0, .world_size = 1}, true), uneven);
}

TEST(Split, RefusesWhatHasNoShares) {
  const WorldRank second{.rank = 1, .world_size = 2};
  const auto error = [](auto&& call) { return test::error_of<UsageError>(call); };
  EXPECT_NE(error([&] { split(Json::parse(R"({"a": [1], "b": []})"), second); }).find("same length"),
            std::string::npos);
  EXPECT_NE(error([&] { split(Json::object(), second); }).find("empty"), std::string::npos);
  EXPECT_NE(error([&] { split(Json(5), second); }).find("is 5"), std::string::npos);
  EXPECT_NE(error([&] { split(Json::parse(R"({"a": 5})"), second); }).find("\"a\": is 5"), std::string::npos);
  EXPECT_NE(error([&] { split(Json::array(), second, true); }).find("no last item"), std::string::npos);
  EXPECT_NE(error([&] { split(at::zeros({0}), second, true); }).find("no last item"), std::string::npos);
  EXPECT_NE(error([&] { split(at::zeros({}), second); }).find("dimensions"), std::string::npos);
  EXPECT_NE(error([&] { split(Numbers{1}, {.rank = 2, .world_size = 2}); }).find("rank 2 of 2"),
            std::string::npos);
  EXPECT_EQ(split(Json::array(), second), Json::array());
}

}  // namespace
}  // namespace diffract::distributed
