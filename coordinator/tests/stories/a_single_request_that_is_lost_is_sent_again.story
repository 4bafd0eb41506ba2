# A request or an answer that is lost is sent again; the shard answers with the first outcome
txn t1: 1 alice =1

> submit t1 as call 1
< s1 to 1: single t1
> wait 400 ms
> wait 200 ms
< s1 to 1: single t1
> s1 from 1: not leading, epoch 2
> wait 600 ms
< s1 to 1: single t1
> s1 from 1: single t1 committed at @8 by 2.4
< call 1: committed at @8, home 1 logged it as 2.4
