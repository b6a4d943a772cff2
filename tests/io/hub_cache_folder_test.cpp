// Where the Hugging Face cache is, by the environment.
#include <gtest/gtest.h>

#include "diffract/io/hub_cache.h"
#include "tests/support/variable.h"

namespace diffract::io {
namespace {

using test::Variable;

TEST(HubCacheFolder, ExpandsTildesAndVariablesAsHuggingfaceHubDoes) {
  const Variable home("HOME", "/home/me"), place("DIFFRACT_TEST_PLACE", "/place");
  const std::pair<const char*, std::pair<const char*, const char*>> cases[] = {
      {"HF_HUB_CACHE", {"~/hub", "/home/me/hub"}},
      {"HUGGINGFACE_HUB_CACHE", {"${DIFFRACT_TEST_PLACE}/hub", "/place/hub"}},
      {"HF_HOME", {"~/hf", "/home/me/hf/hub"}},
      {"HF_HOME", {"$HOME/hf", "/home/me/hf/hub"}},
      {"XDG_CACHE_HOME", {"~/.cache", "/home/me/.cache/huggingface/hub"}},
      {"DIFFRACT_TEST_UNUSED", {"", "/home/me/.cache/huggingface/hub"}}};
  for (const auto& [name, value] : cases) {
    const Variable cache("HF_HUB_CACHE", std::nullopt), older("HUGGINGFACE_HUB_CACHE", std::nullopt),
        hf_home("HF_HOME", std::nullopt), xdg("XDG_CACHE_HOME", std::nullopt);
    const Variable given(name, value.first);
    EXPECT_EQ(hub_cache_folder(), value.second) << name << "=" << value.first;
  }
}

TEST(HubCacheFolder, IsNeverBelowTheCurrentFolder) {
  const Variable cache("HF_HUB_CACHE", std::nullopt), older("HUGGINGFACE_HUB_CACHE", std::nullopt),
      hf_home("HF_HOME", std::nullopt), xdg("XDG_CACHE_HOME", std::nullopt), home("HOME", std::nullopt);
  EXPECT_TRUE(hub_cache_folder().is_absolute()) << hub_cache_folder();
}

}  // namespace
}  // namespace diffract::io
