#include "diffract/io/sha256.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

std::string of_text(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

// FIPS 180-4's examples.
TEST(Sha256, IsTheStandards) {
  EXPECT_EQ(of_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(of_text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of_text(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const test::TempFolder folder;
  const std::string text(1'000'000, 'a');  // longer than what is read at once
  EXPECT_EQ(sha256_of_file(folder.file("a", text)), of_text(text));
  EXPECT_EQ(sha256_of_file(folder.file("empty", "")), of_text(""));
  EXPECT_THROW(sha256_of_file(folder / "none"), IoError);
  EXPECT_THROW(sha256_of_file(folder.path()), IoError);
}

}  // namespace
}  // namespace diffract::io
