# Recovery that finds an outcome tells it; of another attempt's commit it learns that this one never was
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 alice -5; 2 bob -5 if >= 5

> recover t1 #1
< s1 to 1: resolve t1 #1
< s1 to 2: resolve t1 #1
> s1 from 1: t1 #1 resolved: committed at @16 by 1.3 as #1
< s1 to 1: commit t1 #1 at @16
< s1 to 2: commit t1 #1 at @16
> recover t1 #1b
< s2 to 1: resolve t1 #1b
< s2 to 2: resolve t1 #1b
> s2 from 1: t1 #1b resolved: committed at @16 by 1.3 as #1
< s2 to 1: abort t1 #1b
< s2 to 2: abort t1 #1b
> recover t2 #1
< s3 to 1: resolve t2 #1
< s3 to 2: resolve t2 #1
> s3 from 2: t2 #1 resolved: closed: condition 0 on bob found 4
< s3 to 1: closed t2 unread: condition 0 on bob found 4
< s3 to 2: closed t2 unread: condition 0 on bob found 4
