import resource, time
from dlt_sources.datasets import ecommerce

H = "event_id,user_id,event_type,event_timestamp,revenue,invoice,sku,country\n"
import pytest


@pytest.mark.parametrize("n,size", [(100, 1_900_000), (200, 900_000)])
def test_w(loader, landing, n, size):
    ev = landing("ecommerce")
    p = ev.folder / "wide_events.csv"
    with p.open("w") as f:
        f.write(H)
        for i in range(n):
            f.write(f"{i},7,purchase,2024-01-01 10:00:00,1.00,A1,S1,{'y' * size}{i}\n")
    t = time.time()
    r = loader.load_files(ecommerce, [ev.file(p)])
    print(
        "WIDE",
        n,
        size,
        r.loaded,
        [str(x) for x in r.failures],
        time.time() - t,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    )
    print("WIDE", loader.rows("select count(*), sum(length(country)) from raw.ecommerce__events"))
