#include "diffract/core/user_path.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include "tests/support/variable.h"

namespace diffract {
namespace {

using test::Variable;

TEST(ExpandHome, ReplacesALeadingTildeOnly) {
  const Variable home("HOME", "/home/me/");
  EXPECT_EQ(expand_home("~"), "/home/me");
  EXPECT_EQ(expand_home("~/a/~b"), "/home/me/a/~b");
  for (const char* same : {"", "a/~/b", "./~", "/x", "~nobody-of-this-name/x"})
    EXPECT_EQ(expand_home(same), same);
}

TEST(ExpandHome, TakesTheAccountsFolderWithoutHome) {
  const passwd* account = ::getpwuid(::getuid());
  if (!account) GTEST_SKIP() << "this user has no account";
  const std::string folder = account->pw_dir, name = account->pw_name;
  for (const auto& value : {std::optional<std::string>(), std::optional<std::string>("")}) {
    const Variable home("HOME", value);
    EXPECT_EQ(home_folder().string(), folder);
  }
  const Variable home("HOME", "/elsewhere");
  const std::string bare = folder == "/" ? "" : folder;
  EXPECT_EQ(expand_home("~" + name + "/x"), bare + "/x");
}

TEST(ExpandVariables, ReplacesThoseThatAreSet) {
  const Variable set("DIFFRACT_TEST_PLACE", "/place"), unset("DIFFRACT_TEST_NONE", std::nullopt);
  EXPECT_EQ(expand_variables("$DIFFRACT_TEST_PLACE/x"), "/place/x");
  EXPECT_EQ(expand_variables("a${DIFFRACT_TEST_PLACE}b$"), "a/placeb$");
  for (const char* same :
       {"$DIFFRACT_TEST_NONE/x", "${DIFFRACT_TEST_NONE}", "${DIFFRACT_TEST_PLACE", "$", "${}", "a$/b"})
    EXPECT_EQ(expand_variables(same), same);
}

}  // namespace
}  // namespace diffract
