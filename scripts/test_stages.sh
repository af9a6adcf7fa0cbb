#!/usr/bin/env bash
# Every check of the repository, one line for each. The whole output of a stage is shown where it fails.
set -u
cd "$(dirname "$0")/.."
logs=_build/logs
mkdir -p "$logs"
failed=0

# GPU tests are left out where there is no GPU; where CI is set a skip is a failure.
marks="not site"
python -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || {
  marks="$marks and not gpu"
  echo "There is no GPU here: the tests marked gpu are left out."
}

stage() {
  local name=$1 log started=$SECONDS verdict=ok
  log="$logs/${name// /_}.log"
  shift
  "$@" >"$log" 2>&1 || verdict=FAILED
  printf '%-7s %-24s %4d s  %s\n' "$verdict" "$name" $((SECONDS - started)) "$(tail -n 1 "$log" | tr -d '=' | xargs -0 echo -n)"
  [ "$verdict" = ok ] || { cat "$log"; return 1; }
}

# Two workers share the processors of a small machine: threads of their own would only get in each other's way.
export OMP_NUM_THREADS=1

# These three are one process each: the book is built beside the other two.
stage "book" jupyter-book build . -W --keep-going --quiet &
stage "lint" scripts/lint.sh || failed=1
stage "stored runs" python -m pytest --quiet tests/test_stored_runs.py || failed=1
wait $! || failed=1
stage "unit tests" python -m pytest --quiet -n 2 -m "$marks" --ignore tests/test_colab.py \
  --ignore tests/test_stored_runs.py || failed=1
# Every chapter is run twice and has to give its stored outputs both times: here with one thread, where every
# training function also does a few steps whose result is dropped; then as on Colab, with two.
stage "chapters" env TLUTILS_LIVE=none TLUTILS_SMOKE=1 python -m pytest --quiet -p no:cacheprovider -n 2 \
  --dist loadfile --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg chapters || failed=1
stage "chapters on Colab" python -m pytest --quiet -n 2 tests/test_colab.py || failed=1
# Each of the four processes would collect every test there is: they are given the files that have such tests.
stage "site" python -m pytest --quiet -n 3 --dist loadgroup -m site \
  $(grep -rlw --include='*.py' 'mark\.site' tests tlutils scripts book/_extensions) || failed=1
exit $failed
