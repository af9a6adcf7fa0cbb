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

# One stage at a time says how it went.
rmdir "$logs/speaking" 2>/dev/null
stage() {
  local name=$1 log started=$SECONDS verdict=ok
  log="$logs/${name// /_}.log"
  shift
  "$@" >"$log" 2>&1 || verdict=FAILED
  until mkdir "$logs/speaking" 2>/dev/null; do sleep 0.1; done
  printf '%-7s %-24s %4d s  %s\n' "$verdict" "$name" $((SECONDS - started)) "$(tail -n 1 "$log" | tr -d '=' | xargs -0 echo -n)"
  [ "$verdict" = ok ] || cat "$log"
  rmdir "$logs/speaking"
  [ "$verdict" = ok ]
}

# A worker for each processor, whose threads would only get in the others' way; at most three, because a chapter
# takes up to 4 GB.
export OMP_NUM_THREADS=1
workers=$(getconf _NPROCESSORS_ONLN)
workers=$((workers > 3 ? 3 : workers))
# glibc: keep freed memory. The data sets are large, and each fresh page costs the system a turn.
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000

# The book, and the site in a browser, go beside all other stages: each often waits, for a page, a file or a process
# of its own, and the processors then have the other to work on. Each process of "site" would collect every test
# there is: they are given the files that have such tests.
set -m  # a group of their own, which ends with this program
(
  failed=0
  stage "book" jupyter-book build . -W --keep-going --quiet || failed=1
  stage "site" python -m pytest --quiet -n "$workers" -m site \
    $(grep -rlw --include='*.py' 'mark\.site' tests tlutils scripts book/_extensions) || failed=1
  exit $failed
) &
beside=$!
set +m
trap 'kill -- "-$beside" 2>/dev/null' EXIT
stage "lint" scripts/lint.sh || failed=1
stage "stored runs" python -m pytest --quiet tests/test_stored_runs.py || failed=1
stage "unit tests" python -m pytest --quiet -n "$workers" -m "$marks" --ignore tests/test_colab.py \
  --ignore tests/test_stored_runs.py || failed=1
# Every chapter is run twice and has to give its stored outputs both times: here with one thread, where every
# training function also does a few steps whose result is dropped; then as on Colab, with two.
stage "chapters" env TLUTILS_LIVE=none TLUTILS_SMOKE=1 python -m pytest --quiet -p no:cacheprovider -n "$workers" \
  --dist loadfile --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg chapters || failed=1
stage "chapters on Colab" python -m pytest --quiet --maxschedchunk 1 -n "$workers" tests/test_colab.py || failed=1
wait $beside || failed=1
exit $failed
