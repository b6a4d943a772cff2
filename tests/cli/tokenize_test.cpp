// diffract tokenize as a user meets it.
#include <gtest/gtest.h>

#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

class TokenizeProgram : public ::testing::Test {
 protected:
  test::ProgramResult tokenize(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"tokenize"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return test::run_diffract(all, folder_.path().string());
  }

  test::TempFolder folder_;
  std::string sd_ = test::data("reference/checkpoints/sd15").string();
  std::string flux_ = test::data("reference/checkpoints/flux-dev").string();
};

TEST_F(TokenizeProgram, TakesAPipelinesTokenizersAndATokenizersOwnFolder) {
  const auto first = tokenize({"--model", flux_, "hi"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(tokenize({"--model", flux_ + "/tokenizer", "hi"}).out, first.out);
  const auto second = tokenize({"--model", flux_, "--tokenizer", "tokenizer_2", "hi"});
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_NE(second.out, first.out);
  EXPECT_EQ(tokenize({"--model", flux_ + "/tokenizer_2", "hi"}).out, second.out);
}

TEST_F(TokenizeProgram, RefusesATokenizerThatIsNotThere) {
  const auto own = tokenize({"--model", sd_ + "/tokenizer", "--tokenizer", "nosuch", "hi"});
  EXPECT_EQ(own.exit_code, 2);
  EXPECT_NE(own.err.find("nosuch"), std::string::npos) << own.err;
  const auto one = tokenize({"--model", sd_, "--tokenizer", "nosuch", "hi"});
  EXPECT_EQ(one.exit_code, 2);
  EXPECT_NE(one.err.find("sd15 has tokenizer"), std::string::npos) << one.err;
  const auto two = tokenize({"--model", flux_, "--tokenizer", "transformer", "hi"});
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_NE(two.err.find("tokenizer, tokenizer_2"), std::string::npos) << two.err;
  const auto none = tokenize({"--model", sd_ + "/unet", "hi"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_NE(none.err.find("tokenizer.json, spiece.model (T5), or vocab.json"), std::string::npos) << none.err;
}

}  // namespace
}  // namespace diffract
