#include "expr/aff.h"

namespace burnish {

Aff Aff::of(VarId v, int64_t k) {
  Aff a;
  if (k) a.terms.push_back({v, k});
  return a;
}

int64_t Aff::slope(VarId v) const {
  for (const Term& t : terms) {
    if (t.var == v) return t.k;
  }
  return 0;
}

void Aff::add(VarId v, int64_t k) {
  if (!k) return;
  size_t i = 0;
  while (i < terms.size() && terms[i].var < v) ++i;
  if (i == terms.size() || terms[i].var != v) {
    terms.insert_at(i, {v, k});
  } else if ((terms[i].k += k) == 0) {
    terms.erase_at(i);
  }
}

Aff& Aff::operator+=(const Aff& o) {
  if (&o == this) return *this *= 2;
  c += o.c;
  for (const Term& t : o.terms) add(t.var, t.k);
  return *this;
}

Aff& Aff::operator-=(const Aff& o) {
  Aff negative = o;
  negative *= -1;
  return *this += negative;
}

Aff& Aff::operator*=(int64_t k) {
  c *= k;
  if (k == 0) {
    terms.clear();
  } else {
    for (Term& t : terms) t.k *= k;
  }
  return *this;
}

Aff substitute(const Aff& a, const std::function<const Aff*(VarId)>& value) {
  Aff result(a.c);
  for (const Term& t : a.terms) {
    if (const Aff* v = value(t.var)) {
      result += *v * t.k;
    } else {
      result.add(t.var, t.k);
    }
  }
  return result;
}

Aff substitute(const Aff& a, VarId v, const Aff& value) {
  int64_t k = a.slope(v);
  if (!k) return a;
  Aff result = a;
  result.add(v, -k);
  return result += value * k;
}

}  // namespace burnish
