{{/* The alerts, a list in YAML. OF stands for the labels of the component's pods; `todo` is the
     runbook's sentence, docs/operating.md has the rest. */}}
{{- define "dimse-ingestion.alerts" -}}
- alert: DimseIngestionNotScraped
  component: ingestion
  expr: (count(up{OF} == 1) or vector(0)) == 0
  for: 2m
  severity: critical
  summary: No ingestion replica answers.
  todo: Look at the pods' events and logs; without one, every C-STORE ends with A700 "No replica is subscribed".
- alert: DimseIngestionNotReady
  component: ingestion
  expr: kube_pod_status_ready{condition="true",OF} == 0
  for: 5m
  severity: critical
  summary: An ingestion replica is not ready.
  todo: Its log and /readyz have a sentence that names what is missing.
- alert: DimseCatalogueNotReady
  component: catalogue
  expr: kube_pod_status_ready{condition="true",OF} == 0
  for: 5m
  severity: critical
  summary: A replica of the catalogue is not ready.
  todo: Its log and /readyz have a sentence about the database. Nothing is answered as stored meanwhile.
- alert: DimseBucketRefuses
  component: ingestion
  expr: sum(increase(dimse_storage_requests_total{outcome="refused",OF}[10m])) > 0
  severity: critical
  summary: The bucket refuses requests.
  todo: Key or policy are wrong. The replica's /readyz says which; correct the bucket's Secret, it is read again within 5 s of its mount.
- alert: DimseEventsRefused
  component: ingestion
  expr: sum(increase(dimse_events_sent_total{outcome="refused",OF}[10m])) > 0
  severity: critical
  summary: The event sink refuses events.
  todo: Correct eventSink, or see the sink's log. Nothing is answered as stored meanwhile.
- alert: DimseStoreFails
  component: ingestion
  expr: sum by (status) (increase(dimse_ingestion_failures_total{service="store",OF}[10m])) > 0
  severity: warning
  summary: C-STOREs fail.
  todo: Find the status and the "reason" of the log line "An operation failed." in the runbook. The modality still has the images.
- alert: DimseStoreSlow
  component: ingestion
  expr: histogram_quantile(0.99, sum by (le) (rate(dimse_ingestion_store_seconds_bucket{OF}[10m]))) > 25
  for: 10m
  severity: warning
  summary: One C-STORE in a hundred takes more than 25 s.
  todo: Half of the time until A700 is used. Compare dimse_storage_put_seconds with dimse_events_seconds to see which is slow.
- alert: DimseIngestionWorkerEnds
  component: ingestion
  expr: sum(increase(dimse_worker_restarts_total{OF}[10m])) > 0
  severity: warning
  summary: A worker process of the ingestion service ended and was started again.
  todo: The log line "A worker process ended and is started again." has its signal or exit status; SIGKILL is usually the memory limit.
- alert: DimseReplicasFull
  component: ingestion
  expr: sum(rate(dimse_transport_refused_total{OF}[5m])) > 0
  for: 10m
  severity: warning
  summary: Ingestion replicas are busy, and proxies repeat their requests.
  todo: Add replicas, or switch on ingestion.autoscaling.
- alert: DimseCatalogueRefusesEvents
  component: catalogue
  expr: sum(increase(dimse_catalogue_events_total{outcome="refused",OF}[10m])) > 0
  severity: critical
  summary: The catalogue can't record an event.
  todo: See its log and the answer's title; are both of the same release?
- alert: DimseObjectsWithoutEntry
  component: catalogue
  expr: sum(increase(dimse_catalogue_compared_total{outcome="missing",OF}[10m])) > 0
  severity: warning
  summary: Objects of the bucket had no entry in the catalogue.
  todo: See the output of reindex --missing, which names what it left out. Which service ended between bucket and catalogue?
- alert: DimseCatalogueQueriesFail
  component: catalogue
  expr: sum(increase(dimse_catalogue_queries_total{outcome="failed",OF}[10m])) > 0
  severity: warning
  summary: Queries of the catalogue fail.
  todo: See its log; the database's load, locks, connections.
- alert: DimseDicomwebNotReady
  component: dicomweb
  expr: kube_pod_status_ready{condition="true",OF} == 0
  for: 5m
  severity: critical
  summary: A replica of the DICOMweb service is not ready.
  todo: Its log and /readyz have a sentence that names what is missing.
- alert: DimseDicomwebStoreFails
  component: dicomweb
  expr: sum by (status) (increase(dimse_dicomweb_store_failures_total{OF}[10m])) > 0
  severity: warning
  summary: Instances of STOW-RS are not stored.
  todo: Find the status and the "reason" of the log line "An instance was not stored." in the runbook. The client got a failure, and still has the instances.
- alert: DimseDicomwebRequestsFail
  component: dicomweb
  expr: sum by (status) (increase(dimse_dicomweb_requests_total{status=~"5..",OF}[10m])) > 0
  for: 5m
  severity: warning
  summary: DICOMweb requests end with an error of ours.
  todo: The log line "A request failed." says why. With 503 bucket or catalogue are down, or replicas are full - add some, or switch on dicomweb.autoscaling.
- alert: DimseProxyStoreFails
  component: proxy
  expr: sum by (status) (increase(dimse_proxy_operations_total{service="store",status!="0000",OF}[10m])) > 0
  severity: warning
  summary: An image was not taken.
  todo: Find the status and the comment of the log line "C-STORE failed." in the runbook. The modality still has the image.
- alert: DimseProxyAssociationsRejected
  component: proxy
  expr: sum by (outcome) (increase(dimse_proxy_associations_asked_total{outcome!="accepted",OF}[10m])) > 0
  severity: warning
  summary: A modality is refused.
  todo: The log line "Association rejected." says why.
- alert: DimseProxyModalitySilent
  component: proxy
  expr: max by (calling_ae_title) (dimse_proxy_silent_after_timestamp_seconds{OF}) < time()
  severity: warning
  summary: A modality has sent nothing for longer than its expectedEvery.
  todo: Test its connection by a C-ECHO from its console; see the log for "Association rejected." with its AE title, then its own queue. Correct expectedEvery in proxy.settings.modalities if it is idle by plan.
- alert: DimseProxyWorkerEnds
  component: proxy
  expr: sum(increase(dimse_worker_restarts_total{OF}[10m])) > 0
  severity: warning
  summary: A worker process of the proxy ended and was started again.
  todo: The log line "A worker process ended and is started again." has its signal or exit status; SIGKILL is usually the memory limit.
- alert: DimseProxyReloadFails
  component: proxy
  expr: dimse_proxy_last_reload_successful{OF} == 0
  severity: warning
  summary: The proxy can't reload its settings and goes on with the old ones.
  todo: The proxy's log has the reason; correct proxy.settings or the Secret.
- alert: DimseProxySpaceNotReady
  component: proxy
  expr: dimse_proxy_space_ready{OF} == 0
  for: 5m
  severity: critical
  summary: A storage space of a proxy with several is not ready.
  todo: Its line in the proxy's /readyz has a sentence that names what is missing. The other spaces go on.
- alert: DimseProxySpoolFull
  component: proxy
  expr: sum(increase(dimse_spool_refused_total{OF}[10m])) > 0
  severity: critical
  summary: The proxy's spool is full.
  todo: Look why forwarding is slow; else raise proxy.settings.spoolLimit and proxy.spoolVolume.
- alert: DimseCommitmentRefused
  component: proxy
  expr: sum by (status) (increase(dimse_proxy_operations_total{service="commit",status=~"0110|0213",OF}[10m])) > 0
  severity: warning
  summary: A storage commitment request was not accepted.
  todo: 'Find the status and the comment of the log line "N-ACTION failed." in the runbook. The console keeps its images.'
- alert: DimseCommitmentFails
  component: proxy
  expr: sum by (reason) (increase(dimse_commitment_references_total{reason!="0000",OF}[10m])) > 0
  severity: warning
  summary: Instances were not committed.
  todo: 'Find the reason in the runbook under "Storage commitment". The console keeps the images; send them again.'
- alert: DimseCommitmentWaits
  component: proxy
  expr: max(dimse_commitment_oldest_seconds{state="checking",OF}) > 3600
  severity: warning
  summary: Storage commitment requests have waited for an hour.
  todo: 'The log line "Storage commitment waits: its references could not be checked." says why. Is the ingestion service of an older release?'
- alert: DimseCommitmentReportsWait
  component: proxy
  expr: max(dimse_commitment_oldest_seconds{state="reporting",OF}) > 3600
  severity: warning
  summary: An AE has not taken a storage commitment report for an hour.
  todo: 'The log line "A storage commitment report was not delivered; it is sent again." names the AE and says why. Is the console on, and its address in peers right?'
- alert: DimseCommitmentReportsGivenUp
  component: proxy
  expr: sum(increase(dimse_commitment_reports_total{outcome="given_up",OF}[10m])) > 0
  severity: critical
  summary: A storage commitment report was given up.
  todo: 'The log line "A storage commitment report was given up: the AE has not taken it in time." names the transaction; request it again at the console.'
- alert: DimseCommitmentJournalDamaged
  component: proxy
  expr: sum(increase(dimse_commitment_damaged_total{OF}[10m])) > 0
  severity: critical
  summary: A transaction in the storage commitment journal is damaged.
  todo: 'Check the disk. The log names the file; the console must request again.'
- alert: DimseOutboxOld
  component: proxy
  expr: max(dimse_outbox_oldest_seconds{OF}) > 3600
  severity: warning
  summary: Images that were answered as stored have waited in the proxy's spool for an hour.
  todo: The proxy's /readyz says why, at outbox, nats and path. Nothing is lost while the spool's disk has space.
- alert: DimseOutboxFilling
  component: proxy
  expr: max(dimse_outbox_used_ratio{OF}) > 0.5
  severity: warning
  summary: Half of the proxy's spool is in use.
  todo: See why images are not forwarded (/readyz of the proxy), and its dead letters; else raise proxy.settings.spoolLimit and proxy.spoolVolume.
- alert: DimseOutboxNotForwarded
  component: proxy
  expr: sum by (outcome) (increase(dimse_outbox_failures_total{outcome=~"denied|failed",OF}[10m])) > 0
  severity: critical
  summary: Images that were answered as stored are refused until somebody acts.
  todo: The log line "A data set is not forwarded yet." has the reason - a credential, a policy, an event sink. They are tried for ever.
- alert: DimseOutboxDeadLetters
  component: proxy
  expr: sum(dimse_outbox_dead_letters{OF}) > 0
  severity: critical
  summary: The service refuses images that were answered as stored.
  todo: See them and their reasons by dimse-ingestion spool list; correct the cause and use spool retry, or spool export and spool drop.
- alert: DimseProxyUnusedFolders
  component: proxy
  expr: sum by (kind) (dimse_proxy_unused_folders{OF}) > 0
  severity: critical
  summary: Images that were answered as stored, or storage commitment requests, belong to no storage space of the proxy.
  todo: /readyz of the proxy names the folders. Configure their storage space again. Else write the images to files with dimse-ingestion spool export --waiting and delete them with spool drop; remove a journal, whose requestors then get no report.
- alert: DimseOutboxDamaged
  component: proxy
  expr: sum(dimse_outbox_quarantined{OF}) > 0
  severity: critical
  summary: Bytes of the proxy's spool were damaged.
  todo: The log says which; the bytes are in the folder outbox/quarantine. Check the disk, send the images of that time again, then delete the files.
- alert: DimseProxyAuditLost
  component: proxy
  expr: sum(increase(dimse_audit_lost_total{OF}[10m])) > 0
  severity: critical
  summary: Audit messages of the proxy are lost.
  todo: 'The log line "Audit messages are lost: the queue can''t take them." has the reason. Free or enlarge proxy.spoolVolume, raise audit.limit, and see why the repository takes nothing.'
- alert: DimseProxyAuditWaits
  component: proxy
  expr: max(dimse_audit_oldest_seconds{OF}) > 900
  severity: warning
  summary: Audit messages of the proxy have waited for a quarter of an hour.
  todo: 'The log line "The audit repository is not reached; messages wait and are sent again." has the reason. Nothing is lost while the queue has space.'
- alert: DimseProxyAuditDamaged
  component: proxy
  expr: sum(dimse_audit_quarantined{OF}) > 0
  severity: critical
  summary: Bytes of the proxy's audit queue were damaged.
  todo: The log says which; the bytes are in the folder quarantine of the queue. Check the disk, then keep or delete the files.
- alert: DimseDicomwebAuditLost
  component: dicomweb
  expr: sum(increase(dimse_audit_lost_total{OF}[10m])) > 0
  severity: critical
  summary: Audit messages of the DICOMweb service are lost.
  todo: 'The log line "Audit messages are lost: the queue can''t take them." has the reason. Free or enlarge dicomweb.spoolVolume, raise audit.limit, and see why the repository takes nothing.'
- alert: DimseDicomwebAuditWaits
  component: dicomweb
  expr: max(dimse_audit_oldest_seconds{OF}) > 900
  severity: warning
  summary: Audit messages of the DICOMweb service have waited for a quarter of an hour.
  todo: 'The log line "The audit repository is not reached; messages wait and are sent again." has the reason. Nothing is lost while the queue has space.'
- alert: DimseDicomwebAuditDamaged
  component: dicomweb
  expr: sum(dimse_audit_quarantined{OF}) > 0
  severity: critical
  summary: Bytes of the DICOMweb service's audit queue were damaged.
  todo: The log says which; the bytes are in the folder quarantine of the queue. Check the disk, then keep or delete the files.
{{- end }}

{{/* An alert's expression for this release's component. */}}
{{- define "dimse-ingestion.alert.expr" -}}
{{- $name := include "dimse-ingestion.name" (dict "root" .root "component" .alert.component) }}
{{- $of := printf "namespace=%q,pod=~%q" .root.Release.Namespace (printf "%s-[a-z0-9]+-[a-z0-9]+" $name) }}
{{- .alert.expr | replace "OF" $of }}
{{- end }}
