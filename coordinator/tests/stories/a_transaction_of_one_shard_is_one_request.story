# A transaction of one shard is one request and one answer
txn t1: 1 alice =1
txn t2: 2 bob -5 if >= 5
txn t3: 3 carol =1

> submit t1 as call 1
< s1 to 1: single t1
> s1 from 1: single t1 committed at @8 by 1.4
< call 1: committed at @8, home 1 logged it as 1.4
> submit t2 as call 2
< s2 to 2: single t2
> s2 from 2: single t2 closed: condition 0 on bob found 4
< call 2: aborted, home 2, condition 0 on bob found 4
> submit t3 as call 3 applied
< s3 to 3: single t3 applied
> s3 from 3: single t3 committed at @8 by 1.5
> s3 from 3: t3 applied
< call 3: committed at @8, home 3 logged it as 1.5, applied
