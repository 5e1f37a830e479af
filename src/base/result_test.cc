#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace wscope::base {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return fail(Errc::invalid, std::to_string(n) + " is odd");
  return n / 2;
}

Result<int> quarter(int n) {
  WSCOPE_TRY(once, half(n));
  WSCOPE_TRY(twice, half(once));
  return twice;
}

Status check_even(int n) {
  WSCOPE_TRY(unused, half(n));
  (void)unused;
  return {};
}

Status check_all(std::initializer_list<int> numbers, int& checked) {
  for (int const n : numbers) {
    WSCOPE_TRY_STATUS(check_even(n));
    ++checked;
  }
  return {};
}

Result<std::unique_ptr<int>> owned() { return std::make_unique<int>(7); }

Result<int> moved_out() {
  WSCOPE_TRY(pointer, owned());
  return *pointer;
}

TEST(Result, TryBindsTheValueOrReturnsTheError) {
  EXPECT_EQ(quarter(12), 3);
  auto const first = quarter(5);
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::invalid);
  EXPECT_EQ(first.error().what, "5 is odd");
  auto const second = quarter(6);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().what, "3 is odd");
}

TEST(Result, TryMovesTheValue) { EXPECT_EQ(moved_out(), 7); }

TEST(Result, TryStatusStopsAtTheFirstError) {
  int checked = 0;
  EXPECT_TRUE(check_all({2, 4}, checked));
  EXPECT_EQ(checked, 2);
  auto const status = check_all({2, 3, 4}, checked);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().what, "3 is odd");
  EXPECT_EQ(checked, 3);
}

TEST(Result, FailErrnoSaysWhatWasDoneAndWhatTheSystemSaid) {
  errno = ENOSPC;
  Error const full = fail_errno("write a.log").error();
  EXPECT_EQ(full.code, Errc::io);
  EXPECT_EQ(full.what, "write a.log: No space left on device");
  errno = EACCES;
  EXPECT_EQ(fail_errno("open b").error().what, "open b: Permission denied");
}

TEST(ResultDeathTest, CheckNamesTheConditionInEveryBuild) {
  int const n = 2;
  WSCOPE_CHECK(n == 2);
  EXPECT_DEATH(WSCOPE_CHECK(n == 3), "result_test.cc:[0-9]+: check failed: n == 3");
}

}  // namespace
}  // namespace wscope::base
