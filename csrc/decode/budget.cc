#include "decode/budget.h"

#include <utility>

namespace pytransformer::decode {

Budget::Account Budget::with(const Account& account, const Need& need) const {
  Account next = account;
  next.load.add(need);
  next.passes.include(next.load.passes());
  next.bytes = next.load.bytes() + bounds_.bytes(next.passes);
  return next;
}

// A worker that runs something already leaves the others their share. One that runs nothing may
// take all that is free: so the first sentence of the queue is let in some time, even if it has to
// wait until all others are done.
bool Budget::allows(const Account& before, const Account& after) const {
  if (waiting_ > 0 || !fits(after.bytes - before.bytes)) return false;
  return before.load.empty() || after.bytes <= share_;
}

void Budget::set(Account& account, Account next) {
  reserved_ += next.bytes - account.bytes;
  account = std::move(next);
}

bool Budget::admits(const Account& account, const Need& need) const {
  return limit_ == 0 || allows(account, with(account, need));
}

bool Budget::admit(Account& account, const Need& need) {
  if (limit_ == 0) return true;
  Account next = with(account, need);
  if (!allows(account, next)) return false;
  set(account, std::move(next));
  return true;
}

bool Budget::settle(Account& account, const Load& load) {
  const int64_t before = account.bytes;
  set(account, {load, account.passes, load.bytes() + bounds_.bytes(account.passes)});
  return account.bytes < before;
}

void Budget::close(Account& account) { set(account, {}); }

}  // namespace pytransformer::decode
